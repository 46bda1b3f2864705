//! The power fails: what a disk holds at a moment, and no more.
//!
//! The database lies on a file system in a file. The writer is stopped, and the file is copied:
//! the copy has what the file system gave to its disk, and nothing that was still in memory. A
//! killed process cannot show this, because the operating system keeps its memory.
//!
//! A thread that is inside a sync when it is stopped finishes that sync. So a cut falls between
//! two calls of the writer into the kernel, or into what the kernel writes by itself, not into
//! the middle of one sync.

use std::path::Path;

use crate::disk::{Images, Mount, copy_image, lacking, make_image};
use crate::writer::{Acknowledged, REWRITES, VOLATILE, Writer, check, check_among_volatile};
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
pub(crate) struct Disk {
    /// Dropped first: a directory that something is mounted in cannot be removed.
    mount: Mount,
    images: Images,
}

impl Disk {
    /// `None`, and a word about it, where there is no root, no `mkfs.ext4` or no loop device at
    /// all. Where there are, the cuts are made, or the test fails.
    pub(crate) fn new(megabytes: u32) -> Option<Self> {
        if let Some(lacking) = lacking() {
            eprintln!("skipped: a power cut needs {lacking}");
            return None;
        }
        let images = Images::new();
        let image = images.path().join("disk");
        make_image(&image, megabytes);
        let mount = Mount::image(&image, images.path().join("mount"));
        Some(Self { mount, images })
    }

    pub(crate) fn start(&self, name: &str, value_bytes: usize) -> Writer {
        let database = self.mount.directory.join(name);
        Writer::start(&database, value_bytes, &self.images.path().join("notes"))
    }

    /// What the writer has noted.
    pub(crate) fn notes(&self) -> String {
        std::fs::read_to_string(self.images.path().join("notes")).unwrap()
    }

    /// Stops the writer and checks what is on disk then.
    fn cut(&self, name: &str, writer: &mut Writer, acknowledged: &mut Acknowledged) {
        writer.stop();
        writer.drain(acknowledged);
        self.cut_and(writer, |after| check(&after.join(name), acknowledged));
    }

    /// Stops the writer and looks at what is on disk then.
    pub(crate) fn cut_and(&self, writer: &Writer, check: impl FnOnce(&Path)) {
        writer.stop();
        let paths = ["disk", "copy", "after"].map(|name| self.images.path().join(name));
        let [image, copy, after] = paths;
        copy_image(&image, &copy);
        let after = Mount::image(&copy, after);
        check(&after.directory);
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
    let Some(disk) = Disk::new(640) else { return };
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

/// What may be lost is not synced, and must not take along what is.
#[test]
fn a_power_cut_while_something_volatile_is_written_takes_nothing_older() {
    let Some(disk) = Disk::new(640) else { return };
    let (name, mut acknowledged) = ("volatile.db", Acknowledged::new());
    let mut writer = disk.start(name, 5_000);
    writer.wait_for(400, &mut acknowledged);
    writer.kill(&mut acknowledged);
    let writer = disk.start(name, VOLATILE);
    for _ in 0..rounds(12).div_ceil(4) {
        random_moment(400_000);
        disk.cut_and(&writer, |after| check_among_volatile(&after.join(name), &acknowledged));
        writer.go_on();
    }
    let written = disk.notes().lines().filter(|line| *line == "volatile").count();
    writer.kill(&mut acknowledged);
    assert!(!disk.notes().contains("failed"), "{}", disk.notes());
    eprintln!("cuts while {written} volatile runs were written");
}

#[test]
fn a_power_cut_at_any_moment_of_a_rewrite_leaves_the_whole_database() {
    let Some(disk) = Disk::new(320) else { return };
    for value_bytes in [5_000, 300_000] {
        let (name, mut acknowledged) = (format!("{value_bytes}.db"), Acknowledged::new());
        let mut writer = disk.start(&name, value_bytes);
        writer.wait_for(40, &mut acknowledged);
        writer.kill(&mut acknowledged);
        let mut rewriter = disk.start(&name, REWRITES);
        let cuts = rounds(20).div_ceil(4);
        for _ in 0..cuts {
            random_moment(150_000);
            disk.cut(&name, &mut rewriter, &mut acknowledged);
            rewriter.go_on();
        }
        rewriter.kill(&mut acknowledged);
        let rewritten = disk.notes().lines().filter(|line| *line == "rewritten").count();
        assert!(!disk.notes().contains("failed"), "{}", disk.notes());
        check(&disk.mount.directory.join(&name), &acknowledged);
        eprintln!("{cuts} cuts of {rewritten} rewrites, values of {value_bytes} bytes");
    }
}
