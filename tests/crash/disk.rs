//! File systems in files, for disks that lose power or fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Runs a command of the system; whether it worked.
pub(crate) fn run(program: &str, args: &[&str]) -> bool {
    let status =
        Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory for images: in memory where there is room, so that a round is quick. What a disk
/// holds is decided by what its file system gave to it, wherever that is kept.
pub(crate) fn image_directory() -> TempDir {
    let free = Command::new("df").args(["--output=avail", "-k", "/dev/shm"]).output();
    let free = free.ok().and_then(|out| String::from_utf8(out.stdout).ok());
    let free = free.and_then(|text| text.lines().nth(1)?.trim().parse::<u64>().ok());
    if free.is_some_and(|kilobytes| kilobytes > 3_000_000)
        && let Ok(directory) = tempfile::tempdir_in("/dev/shm")
    {
        return directory;
    }
    tempfile::tempdir().unwrap()
}

/// Makes a file system in a file. It has a journal of its own, like those that databases lie on.
pub(crate) fn make_image(image: &Path, megabytes: u32) -> bool {
    // Nothing is left for the kernel to initialise later, while a test looks at the file.
    let options = "lazy_itable_init=0,lazy_journal_init=0,packed_meta_blocks=1";
    let args = ["-q", "-F", "-b", "4096", "-N", "2048", "-J", "size=4", "-E", options, text(image)];
    run("truncate", &["-s", &format!("{megabytes}M"), text(image)]) && run("mkfs.ext4", &args)
}

/// A mounted file system, unmounted when dropped.
pub(crate) struct Mount {
    pub(crate) directory: PathBuf,
}

impl Mount {
    /// Mounts an image; `None` where that is not to be had here.
    pub(crate) fn image(image: &Path, directory: PathBuf) -> Option<Self> {
        Self::mounted(&["-o", "loop", text(image)], directory)
    }

    /// A file system in memory that holds so much and no more.
    pub(crate) fn memory(megabytes: u32, directory: PathBuf) -> Option<Self> {
        let size = format!("size={megabytes}M");
        Self::mounted(&["-t", "tmpfs", "-o", &size, "tmpfs"], directory)
    }

    fn mounted(args: &[&str], directory: PathBuf) -> Option<Self> {
        fs::create_dir_all(&directory).unwrap();
        let args = [args, &[text(&directory)]].concat();
        run("mount", &args).then_some(Self { directory })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Busy for a moment after a process on it was killed.
        let directory = text(&self.directory);
        assert!(run("umount", &[directory]) || run("umount", &["-l", directory]));
    }
}

/// Copies an image as it is at one moment: nothing may be written to it meanwhile, or the copy
/// would hold a later write without an earlier one, as no disk does.
pub(crate) fn copy_image(image: &Path, copy: &Path) {
    loop {
        let before = writes(image);
        // Written over in place: the copy before was of the same size.
        assert!(run("cp", &["--sparse=always", text(image), text(copy)]));
        if before.ends_with(" 0") && before == writes(image) {
            return;
        }
        std::thread::yield_now();
    }
}

/// What the kernel has written to the loop device of an image: requests, sectors, flushes, and
/// last how many requests are on their way.
fn writes(image: &Path) -> String {
    let devices = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |device: &PathBuf| {
        let file = fs::read_to_string(device.join("loop/backing_file"));
        file.is_ok_and(|file| file.trim_end() == text(image))
    };
    let device = devices.filter(|device| device.join("loop").exists()).find(is_ours).unwrap();
    let stat = fs::read_to_string(device.join("stat")).unwrap();
    let fields: Vec<&str> = stat.split_whitespace().collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or("-");
    format!("{} {} {} {}", field(4), field(6), field(15), field(8))
}
