//! The records of a database: the packed file, if a rewrite made one, and sled over it.

use std::path::Path;

use super::directory::packs_in;
use super::layers::{Layer, Said, merge};
use super::pack::{Pack, PackId};
use super::tree::{Entry, Tree};
use crate::error::{Error, Result};
use crate::log::{Op, PageLimit, Range, Record};

#[derive(Debug)]
pub(super) struct Records {
    tree: Tree,
    pack: Option<Pack>,
}

impl Said for (Vec<u8>, Entry) {
    fn key(&self) -> &[u8] {
        &self.0
    }

    fn into_record(self) -> Option<Record> {
        match self {
            (key, Entry::Value(value)) => Some(Record { key, value }),
            (_, Entry::Gone) => None,
        }
    }
}

impl Records {
    /// Opens what lies in a directory.
    pub(super) fn open(directory: &Path, cache_bytes: u64) -> Result<Self> {
        let tree = Tree::open(directory, cache_bytes)?;
        let pack = pack_of(&tree, directory)?.map(|id| Pack::open(directory, id)).transpose()?;
        Ok(Self { tree, pack })
    }

    /// Opens what can still be read of what lies in a directory.
    pub(super) fn salvage(directory: &Path, cache_bytes: u64) -> Result<Self> {
        let tree = Tree::open(directory, cache_bytes)?;
        let pack = match pack_of(&tree, directory)?.map(|id| Pack::salvage(directory, id)) {
            // Nothing of it is damaged, and a part of a database must not be taken for all of it.
            Some(Err(error)) if error.is_newer_format() => return Err(error),
            pack => pack.and_then(Result::ok),
        };
        Ok(Self { tree, pack })
    }

    /// The packed file that sled lies over.
    pub(super) fn pack_id(&self) -> Option<PackId> {
        self.pack.as_ref().map(Pack::id)
    }

    /// Makes a database that says so far only which packed file is below it.
    pub(super) fn create_over(directory: &Path, id: PackId, cache_bytes: u64) -> Result<()> {
        let tree = Tree::open(directory, cache_bytes)?;
        tree.set_pack(id)?;
        tree.flush()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match (self.tree.get(key)?, &self.pack) {
            (Some(Entry::Value(value)), _) => Ok(Some(value)),
            (None, Some(pack)) => pack.get(key),
            (Some(Entry::Gone) | None, _) => Ok(None),
        }
    }

    /// The next records of a range.
    pub(super) fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let above = Layer::new(range.clone(), |rest| self.tree.page(rest, limit));
        if let Some(pack) = &self.pack {
            let below = Layer::new(range.clone(), |rest| pack.page(rest, limit));
            return merge(above, below, range.order, limit);
        }
        // A layer would look behind each short page.
        let page = self.tree.page(range, limit)?;
        if page.iter().all(|(_, entry)| *entry != Entry::Gone) {
            return Ok(page.into_iter().filter_map(Said::into_record).collect());
        }
        // What is gone was in a packed file that is lost. A page without it would look like the end.
        merge(above, Layer::of(Vec::<Record>::new()), range.order, limit)
    }

    /// Applies operations together, in order.
    pub(super) fn apply(&self, ops: &[Op]) -> Result<()> {
        self.tree.apply(ops, |key| self.is_packed(key))
    }

    /// Writes one large value, calling `between` after each part. Nobody reads it before all of
    /// it is there.
    pub(super) fn insert_in_parts(
        &self,
        record: &Record,
        part_bytes: usize,
        between: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        self.apply(&[Op::Remove(record.key.clone())])?;
        self.tree.insert_in_parts(record, part_bytes, between)
    }

    /// Hands everything to the operating system. That is all sled's flush does.
    pub(super) fn flush(&self) -> Result<()> {
        self.tree.flush()
    }

    fn is_packed(&self, key: &[u8]) -> Result<bool> {
        match self.pack.as_ref().map(|pack| pack.has(key)) {
            // What cannot be read may hold it. A mark over nothing does no harm, and a removal that
            // the journal holds must go through, or the database would never open again.
            Some(Err(_)) => Ok(true),
            found => found.unwrap_or(Ok(false)),
        }
    }
}

/// The packed file that belongs to what sled has. Where sled lost what it says of it, with all that
/// came behind it, it is the one that is there: a rewrite leaves no other.
fn pack_of(tree: &Tree, directory: &Path) -> Result<Option<PackId>> {
    if let Some(id) = tree.pack()? {
        return Ok(Some(id));
    }
    let packs = packs_in(directory).map_err(Error::io)?;
    match packs[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        _ => Err(Error::corrupt("nothing says which of its packed files is the right one")),
    }
}
