//! The power fails: what a disk holds at a moment, and no more.
//!
//! The database lies on a file system in a file. The writer is stopped, and the file is copied:
//! the copy has what the file system gave to its disk, and nothing that was still in memory. A
//! killed process cannot show this, because the operating system keeps its memory.
//!
//! A thread that is inside a sync when it is stopped finishes that sync. So a cut falls between
//! two calls of the writer into the kernel, or into what the kernel writes by itself, not into
//! the middle of one sync.

use tempfile::TempDir;

use crate::disk::{Mount, copy_image, image_directory, make_image};
use crate::writer::{Acknowledged, Writer, check};
use crate::{VALUE_BYTES, random_moment, rounds};

/// When the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Right after an acknowledgement.
    Acknowledged,
    /// Whenever it pleases: in the middle of an append, of a checkpoint, of an opening.
    Any,
}

/// A disk that databases are written to, and cut.
struct Disk {
    /// Dropped first: a directory that something is mounted in cannot be removed.
    mount: Mount,
    directory: TempDir,
}

impl Disk {
    /// `None` where there is no root, no `mkfs.ext4` or no loop device.
    fn new(megabytes: u32) -> Option<Self> {
        let directory = image_directory();
        let image = directory.path().join("disk");
        if !make_image(&image, megabytes) {
            return None;
        }
        let mount = Mount::image(&image, directory.path().join("mount"))?;
        Some(Self { mount, directory })
    }

    fn start(&self, name: &str, value_bytes: usize) -> Writer {
        let database = self.mount.directory.join(name);
        Writer::start(&database, value_bytes, &self.directory.path().join("notes"))
    }

    /// Stops the writer and checks what is on disk then.
    fn cut(&self, name: &str, writer: &mut Writer, acknowledged: &mut Acknowledged) {
        writer.stop();
        writer.drain(acknowledged);
        let paths = ["disk", "copy", "after"].map(|name| self.directory.path().join(name));
        let [image, copy, after] = paths;
        copy_image(&image, &copy);
        let after = Mount::image(&copy, after).unwrap();
        check(&after.directory.join(name), acknowledged);
    }

    /// Cuts databases that were just made, one cut each.
    fn cut_new(&self, value_bytes: usize, cuts: usize, moment: Moment) {
        for round in 0..cuts {
            let name = format!("new {round}.db");
            let mut acknowledged = Acknowledged::new();
            let mut writer = self.start(&name, value_bytes);
            match moment {
                Moment::Acknowledged => writer.wait_for(1 + round % 3, &mut acknowledged),
                // It takes about as long to open a database as to write to it for a while.
                Moment::Any => drop(random_moment(80_000)),
            }
            self.cut(&name, &mut writer, &mut acknowledged);
            writer.kill(&mut acknowledged);
            drop(std::fs::remove_dir_all(self.mount.directory.join(&name)));
        }
    }

    /// Cuts one database again and again, once it has been written to for a while.
    fn cut_warm(&self, value_bytes: usize, cuts: usize, moment: Moment) {
        let mut acknowledged = Acknowledged::new();
        let mut writer = self.start("warm.db", value_bytes);
        let warm_up = if value_bytes > 1_000_000 { 10 } else { 40 };
        writer.wait_for(warm_up, &mut acknowledged);
        for round in 0..cuts {
            match moment {
                Moment::Acknowledged => writer.wait_for(1 + round % 3, &mut acknowledged),
                Moment::Any => drop(random_moment(20_000)),
            }
            self.cut("warm.db", &mut writer, &mut acknowledged);
            writer.go_on();
        }
        writer.kill(&mut acknowledged);
        std::fs::remove_dir_all(self.mount.directory.join("warm.db")).unwrap();
    }
}

/// Spreads the cuts over every size of value, and over new and warm databases.
fn cut_all(moment: Moment) {
    let Some(disk) = Disk::new(640) else {
        eprintln!("skipped: a power cut needs root, mkfs.ext4 and loop devices");
        return;
    };
    // Half of all cuts are of each kind of moment.
    let cuts = rounds(20).div_ceil(4 * VALUE_BYTES.len());
    for value_bytes in VALUE_BYTES {
        disk.cut_new(value_bytes, cuts, moment);
        disk.cut_warm(value_bytes, cuts, moment);
        eprintln!("{cuts} cuts each of new and warm databases, values of {value_bytes} bytes");
    }
}

#[test]
fn every_acknowledged_append_survives_a_power_cut() {
    cut_all(Moment::Acknowledged);
}

#[test]
fn a_power_cut_at_any_moment_leaves_whole_appends_and_all_that_were_acknowledged() {
    cut_all(Moment::Any);
}
