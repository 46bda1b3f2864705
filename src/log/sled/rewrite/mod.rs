//! Writes a database into files of its own size: sled never gives room back, and never makes its
//! file shorter. All records go into a packed file, and a new sled lies empty over it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use serde::Serialize;

use super::directory::{CONFIG_FILE, DATA_FILE, REWRITE_FOLDER, record_file_bytes, sync_directory};
use super::pack::{PackId, PackWriter};
use super::records::Records;
use super::swap::{self, Steps};
use super::tree::Tree;
use super::{Files, SledOptions};
use crate::error::{Context, Error, Result};
use crate::log::{PageLimit, Record, key};

/// What a rewrite did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rewritten {
    /// Records that were written.
    pub records: u64,
    /// Bytes of the files that held them before.
    pub before_bytes: u64,
    /// Bytes of the files that hold them now.
    pub after_bytes: u64,
}

/// Rewrites the database at a path. Nobody may have it open. `progress` is told how many records
/// are written so far.
///
/// It needs room for a second copy. What ends it on its way leaves the database as it was, or as
/// it should be; the next opening knows which.
pub(crate) fn rewrite(
    path: &Path,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Rewritten> {
    rewrite_in_steps(path, cache_bytes, progress, &mut |_| Ok(()))
        .with_context(|| path.display().to_string())
}

fn rewrite_in_steps(
    path: &Path,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
    steps: &mut Steps<'_>,
) -> Result<Rewritten> {
    // Two trees are open at a time.
    let options = SledOptions { create: false, cache_bytes: cache_bytes / 2, as_copy: false };
    let Files { mut journal, feeder, records, data, mark, .. } = Files::open(path, options)?;
    // What it held must not be done again over the copy, nor be read in it.
    journal.sync()?;
    journal.clear()?;
    journal.sync()?;
    let before_bytes = record_file_bytes(path).map_err(Error::io)?;
    let made = make(path, &records, options.cache_bytes, progress, steps);
    drop((feeder, records, data));
    let announced = made.and_then(|(pack, records)| {
        // Until then sled may write to the directory.
        Tree::wait_until_closed(path)?;
        steps("the database is closed")?;
        swap::announce(path, pack)?;
        steps("the copy is announced")?;
        Ok((pack, records))
    });
    if announced.is_err() && steps("the copy is useless").is_ok() {
        // Where this fails too, the next opening does it.
        drop(swap::take_back(path, steps));
    }
    let (pack, records) = announced?;
    swap::settle(path, steps)?;
    swap::remove_other_packs(path, pack)?;
    steps("the packed file of before is gone")?;
    let after_bytes = record_file_bytes(path).map_err(Error::io)?;
    // The lock, until here.
    drop(mark);
    Ok(Rewritten { records, before_bytes, after_bytes })
}

/// Makes the copy and has it on disk; returns its packed file and how many records it has.
fn make(
    path: &Path,
    from: &Records,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
    steps: &mut Steps<'_>,
) -> Result<(PackId, u64)> {
    let folder = path.join(REWRITE_FOLDER);
    make_folder(path, &folder).map_err(Error::io).with_context(|| folder.display().to_string())?;
    steps("the folder is there")?;
    let pack = PackId::new()?;
    let written = fill(&folder, pack, from, progress)?;
    steps("all is packed")?;
    Records::create_over(&folder, pack, cache_bytes)?;
    steps("all is written")?;
    // What is read back is what the database will hold, and the only other copy goes.
    let copy = Records::open(&folder, cache_bytes)?;
    let mut stored = Contents::default();
    each_page(&copy, &mut |page| {
        stored.take(&page);
        Ok(())
    })?;
    drop(copy);
    Tree::wait_until_closed(&folder)?;
    if stored.digest() != written.digest() {
        return Err(Error::corrupt("the copy does not give back what it was given"));
    }
    steps("all was read back")?;
    take_after(path, &folder, pack).map_err(Error::io)?;
    sync(path, &folder, pack).map_err(Error::io)?;
    steps("the copy is on disk")?;
    Ok((pack, written.records))
}

/// Makes the folder of the copy. Nobody reads of it who may not read the database, and whoever
/// opens that after a crash can throw it away, though root had begun.
fn make_folder(path: &Path, folder: &Path) -> std::io::Result<()> {
    // An opening may have been killed before it had on disk that an earlier rewrite is over.
    sync_directory(path)?;
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    give(folder, &fs::metadata(path.join(DATA_FILE))?)
}

/// Makes who owns one file own another.
fn give(path: &Path, like: &fs::Metadata) -> std::io::Result<()> {
    chown(path, Some(like.uid()), Some(like.gid()))
}

/// Writes all records into a packed file.
fn fill(
    folder: &Path,
    pack: PackId,
    from: &Records,
    progress: &mut dyn FnMut(u64),
) -> Result<Contents> {
    let mut to = PackWriter::create(folder, pack)?;
    let mut written = Contents::default();
    each_page(from, &mut |page| {
        written.take(&page);
        page.iter().try_for_each(|record| to.push(record))?;
        progress(written.records);
        Ok(())
    })?;
    to.finish()?;
    Ok(written)
}

fn each_page(records: &Records, each: &mut dyn FnMut(Vec<Record>) -> Result<()>) -> Result<()> {
    let mut range = key::everything();
    loop {
        let page = records.page(&range, PageLimit::default())?;
        let Some(last) = page.last() else { return Ok(()) };
        range = range.behind(&last.key);
        each(page)?;
    }
}

/// Whoever reads and writes the database, and not whoever rewrites it, has the copy.
fn take_after(path: &Path, folder: &Path, pack: PackId) -> std::io::Result<()> {
    let data = path.join(DATA_FILE);
    for (old, new) in [
        (&data, folder.join(DATA_FILE)),
        (&data, pack.path_in(folder)),
        (&path.join(CONFIG_FILE), folder.join(CONFIG_FILE)),
    ] {
        let old = fs::metadata(old)?;
        give(&new, &old)?;
        fs::set_permissions(&new, old.permissions())?;
    }
    Ok(())
}

/// sled's own flush does not survive a power cut.
fn sync(path: &Path, folder: &Path, pack: PackId) -> std::io::Result<()> {
    for file in [folder.join(DATA_FILE), folder.join(CONFIG_FILE), pack.path_in(folder)] {
        File::open(file)?.sync_all()?;
    }
    sync_directory(folder)?;
    sync_directory(path)
}

/// What a database holds, to be compared.
#[derive(Debug, Default)]
struct Contents {
    records: u64,
    hasher: blake3::Hasher,
}

impl Contents {
    fn take(&mut self, page: &[Record]) {
        for Record { key, value } in page {
            for part in [key, value] {
                self.hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            self.records += 1;
        }
    }

    fn digest(&self) -> (u64, [u8; 32]) {
        (self.records, self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests;
