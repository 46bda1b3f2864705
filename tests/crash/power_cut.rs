//! The power fails: what a disk holds at the moment of an acknowledgement, and no more.
//!
//! The database lies on a file system in a file. The writer is stopped right after it has
//! acknowledged something, and the file is copied: the copy has what the file system gave to
//! its disk, and nothing that was still in memory. A killed process cannot show this, because
//! the operating system keeps its memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rounds;
use crate::writer::{Acknowledged, Writer, check};

const IMAGE_MEGABYTES: u32 = 512;

/// Runs a command of the system; whether it worked.
fn run(program: &str, args: &[&str]) -> bool {
    let status =
        Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A mounted file system in a file, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, directory: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&directory).unwrap();
        let args = ["-o", "loop", image.to_str().unwrap(), directory.to_str().unwrap()];
        run("mount", &args).then_some(Self(directory))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Busy for a moment after a process on it was killed.
        let directory = self.0.to_str().unwrap();
        assert!(run("umount", &[directory]) || run("umount", &["-l", directory]));
    }
}

fn make_image(image: &Path) -> bool {
    let size = format!("{IMAGE_MEGABYTES}M");
    run("truncate", &["-s", &size, image.to_str().unwrap()])
        && run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])
}

fn signal(pid: u32, name: &str) {
    assert!(run("kill", &[&format!("-{name}"), &pid.to_string()]));
}

/// Writes values of a size and cuts the power `cuts` times. Each cut is opened and checked.
fn cut(value_bytes: usize, warm_up: usize, cuts: usize) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("disk");
    if !make_image(&image) {
        return false;
    }
    let Some(mount) = Mount::new(&image, directory.path().join("mount")) else { return false };
    let writer = Writer::start(&mount.0.join("cut.db"), value_bytes);
    let mut acknowledged = Acknowledged::new();
    writer.wait_for(warm_up, &mut acknowledged);
    for round in 0..cuts {
        writer.wait_for(1 + round % 3, &mut acknowledged);
        signal(writer.child.id(), "STOP");
        writer.drain(&mut acknowledged);
        let copy = directory.path().join("copy");
        let paths = [image.to_str().unwrap(), copy.to_str().unwrap()];
        assert!(run("cp", &["--sparse=always", paths[0], paths[1]]));
        let after = Mount::new(&copy, directory.path().join("after")).unwrap();
        check(&after.0.join("cut.db"), &acknowledged);
        drop(after);
        signal(writer.child.id(), "CONT");
    }
    writer.kill(&mut acknowledged);
    true
}

#[test]
fn every_acknowledged_append_survives_a_power_cut() {
    for value_bytes in [100, 5_000, 16_000, 300_000, 3_000_000] {
        for (state, warm_up) in [("new", 1), ("warm", 30)] {
            let cuts = rounds(10).div_ceil(10);
            if !cut(value_bytes, warm_up, cuts) {
                eprintln!("skipped: a power cut needs root, mkfs.ext4 and loop devices");
                return;
            }
            eprintln!("{cuts} cuts of a {state} database with values of {value_bytes} bytes");
        }
    }
}
