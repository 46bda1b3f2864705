//! File systems in files, for disks that lose power or fail.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tempfile::TempDir;

use crate::random_moment;

/// How the name of every directory of images begins.
const PREFIX: &str = "sessionlog-crash-";
/// A file in each of them that its process has locked. So what a killed process left is known.
const LOCK: &str = "in-use";

/// Loop devices are few, so one test has them at a time.
static TURN: Mutex<()> = Mutex::new(());
static TIDIED: Once = Once::new();

/// How often to ask for a loop device that another process has.
const TRIES_MAX: u32 = 400;

/// A directory for images, and the turn of the test that has it.
pub(crate) struct Images {
    directory: TempDir,
    _lock: File,
    _turn: MutexGuard<'static, ()>,
}

/// Runs a command of the system; whether it worked.
pub(crate) fn run(program: &str, args: &[&str]) -> bool {
    let status =
        Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Images {
    /// Waits for its turn.
    pub(crate) fn new() -> Self {
        // A test that failed in its turn leaves nothing that matters to the next.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        TIDIED.call_once(tidy);
        let mut named = tempfile::Builder::new();
        let named = named.prefix(PREFIX);
        let directory = match in_memory() {
            Some(memory) => named.tempdir_in(memory),
            None => named.tempdir(),
        };
        let directory = directory.unwrap();
        // Nobody sees it before it is locked.
        let unseen = directory.path().join("new");
        let lock = File::create(&unseen).unwrap();
        lock.lock().unwrap();
        fs::rename(unseen, directory.path().join(LOCK)).unwrap();
        Self { directory, _lock: lock, _turn: turn }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Memory, where there is room, so that a round is quick. What a disk holds is decided by what its
/// file system gave to it, wherever that is kept.
fn in_memory() -> Option<&'static str> {
    let free = Command::new("df").args(["--output=avail", "-k", "/dev/shm"]).output();
    let free = String::from_utf8(free.ok()?.stdout).ok()?;
    let kilobytes = free.lines().nth(1)?.trim().parse::<u64>().ok()?;
    (kilobytes > 3_000_000).then_some("/dev/shm")
}

/// Unmounts and removes what a process of these tests left that was killed.
fn tidy() {
    for mounted in fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines() {
        let Some(place) = mounted.split(' ').nth(1).map(Path::new) else { continue };
        if place.parent().is_some_and(is_left) {
            run("umount", &["-l", text(place)]);
        }
    }
    for directory in [Path::new("/dev/shm"), &std::env::temp_dir()] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if is_left(&entry.path()) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

/// Whether it is a directory of images whose process is gone.
fn is_left(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    let lock = File::open(directory.join(LOCK));
    name.is_some_and(|name| name.starts_with(PREFIX)) && lock.is_ok_and(|it| it.try_lock().is_ok())
}

/// What mounting an image needs and this machine does not have.
pub(crate) fn lacking() -> Option<&'static str> {
    if !may_mount() {
        return Some("root");
    }
    let is_loop_device = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let has_loops = fs::read_dir("/dev").into_iter().flatten().flatten().any(is_loop_device);
    // A container may show them and keep them to itself.
    if !has_loops || !run("losetup", &["-f"]) {
        return Some("loop devices");
    }
    (!run("mkfs.ext4", &["-V"])).then_some("mkfs.ext4")
}

/// Whether the kernel lets this process mount: root of a container may be refused it.
pub(crate) fn may_mount() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & CAP_SYS_ADMIN != 0)
}

/// Makes a file system in a file. It has a journal of its own, like those that databases lie on.
pub(crate) fn make_image(image: &Path, megabytes: u32) {
    // Nothing is left for the kernel to initialise later, while a test looks at the file.
    let options = "lazy_itable_init=0,lazy_journal_init=0,packed_meta_blocks=1";
    let args = ["-q", "-F", "-b", "4096", "-N", "2048", "-J", "size=4", "-E", options, text(image)];
    assert!(run("truncate", &["-s", &format!("{megabytes}M"), text(image)]), "no room");
    assert!(run("mkfs.ext4", &args), "mkfs.ext4 failed");
}

/// A mounted file system, unmounted when dropped.
pub(crate) struct Mount {
    pub(crate) directory: PathBuf,
}

impl Mount {
    /// Mounts an image.
    pub(crate) fn image(image: &Path, directory: PathBuf) -> Self {
        Self::mounted(&["-o", "loop", text(image)], directory)
    }

    /// A file system in memory that holds so much and no more.
    pub(crate) fn memory(megabytes: u32, directory: PathBuf) -> Self {
        let size = format!("size={megabytes}M");
        Self::mounted(&["-t", "tmpfs", "-o", &size, "tmpfs"], directory)
    }

    fn mounted(args: &[&str], directory: PathBuf) -> Self {
        fs::create_dir_all(&directory).unwrap();
        let args = [args, &[text(&directory)]].concat();
        let mut output = Command::new("mount").args(&args).output().unwrap();
        // Another process may have every loop device, or take the one that was free.
        for _ in 0..TRIES_MAX {
            if output.status.success() {
                break;
            }
            random_moment(50_000);
            output = Command::new("mount").args(&args).output().unwrap();
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { directory }
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
