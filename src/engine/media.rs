//! Media of a session: into the store of blobs once, and back where they are needed.

use std::fs::File;
use std::io::{Cursor, Read};

use super::session::Session;
use super::{Engine, Inner};
use crate::blob::BlobName;
use crate::error::{Context, Error, Result};
use crate::event::{EventBody, NewEvent, references};
use crate::id::Digest;
use crate::index::{Entry, Lineage};
use crate::json::{Field, Json};
use crate::log::{Batch, Order, Record, Scan, key};
use crate::media::{Lease, Put};
use crate::message::media::{self, Source, media_type_of, url_part};
use crate::message::{Media, MediaForm, MediaRef, Message, Part};

/// A medium that a session holds, to be put into a message. The bytes are kept as long as this
/// is, and from then on as long as a message refers to them.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredMedia {
    part: Part,
    reference: Option<MediaRef>,
    _lease: Option<Lease>,
}

/// Stored media, and how much they are used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct BlobUse {
    /// The blob's name, in hexadecimal: the blake3 digest of its bytes, unless it is sealed.
    pub name: String,
    /// Its bytes as stored.
    pub bytes: u64,
    /// How many events refer to it.
    pub uses: u64,
}

/// Events without their media, and what keeps these, each with the place of its event.
pub(super) type Detached = (Vec<NewEvent>, Vec<(usize, Lease)>);

impl StoredMedia {
    /// The part of a message that stands for it.
    pub fn part(&self) -> Part {
        self.part.clone()
    }

    /// The reference to its bytes; `None` for what stays on the web.
    pub fn reference(&self) -> Option<&MediaRef> {
        self.reference.as_ref()
    }
}

impl Session {
    /// Stores a medium for this session, streaming it where it comes from a file. The same bytes
    /// are stored once, however often they come.
    ///
    /// Media inside of messages are stored this way by themselves; this is for those that are
    /// too large to be held in memory, or already lie in a file.
    ///
    /// ```
    /// use sessionlog::{Engine, Media, Message, Metrics};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").open()?;
    /// let photo = session.store_media(Media::bytes("image/png", vec![7; 5_000]))?;
    /// let message = Message::user("What is this?").with_part(photo.part());
    /// session.record_run([message], Metrics::default())?.wait()?;
    /// let prompt = session.window().openai()?;
    /// let url = prompt[0]["content"][1]["image_url"]["url"].as_str().unwrap();
    /// assert!(url.starts_with("data:image/png;base64,"));
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn store_media(&self, media: Media) -> Result<StoredMedia> {
        let store = || match media.0 {
            Source::Url(url) => {
                Ok(StoredMedia { part: url_part(&url), reference: None, _lease: None })
            }
            Source::Bytes { media_type, bytes } => {
                self.put_media(&mut Cursor::new(bytes), &media_type)
            }
            Source::Path(path) => {
                let place = path.display().to_string();
                let open = || File::open(&path).map_err(Error::io);
                let mut file = open().with_context(|| place.as_str())?;
                let mut head = Vec::new();
                let read = file.by_ref().take(16).read_to_end(&mut head);
                read.map_err(Error::io).with_context(|| place.as_str())?;
                let media_type = media_type_of(&path, &head);
                self.put_media(&mut Cursor::new(head).chain(file), media_type)
                    .with_context(|| place.as_str())
            }
        };
        self.seq()?;
        store().with_context(|| self.place())
    }

    fn put_media(&self, reader: &mut dyn Read, media_type: &str) -> Result<StoredMedia> {
        let Put { digest, size, lease } = self.inner().media().put_stream(self.key(), reader)?;
        let reference = MediaRef::new(digest, size, media_type, MediaForm::DataUrl)?;
        Ok(StoredMedia {
            part: reference.to_part(),
            reference: Some(reference),
            _lease: Some(lease),
        })
    }

    /// Reads a medium that a message of the session refers to.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the session holds no such medium
    /// (any more).
    pub fn open_media(&self, reference: &MediaRef) -> Result<Box<dyn Read + Send>> {
        let open = || {
            let (lineage, _) = self.head()?;
            let streams = streams(&lineage);
            let inner = self.inner();
            // Nobody reads another session's media by naming its digest.
            let claim = inner.media().claim(&**inner.log(), &streams, reference.digest())?;
            if claim.is_none() {
                return Err(Error::corrupt("no message of it refers to that medium"));
            }
            inner.media().open(&streams, reference.digest())
        };
        open().with_context(|| self.place())
    }

    /// Takes media out of events and stores them, before anything of the events is.
    pub(super) fn detach(
        &self,
        entry: Option<&Entry>,
        mut events: Vec<NewEvent>,
    ) -> Result<Detached> {
        let mut leases = Vec::new();
        for (at, event) in events.iter_mut().enumerate() {
            if !may_hold_media(&event.body) {
                continue;
            }
            for reference in references(&event.body) {
                leases.push((at, self.claimed(entry, &reference)?));
            }
            let mut put = |reference: &MediaRef, bytes: &[u8]| {
                let lease = self.inner().media().put(self.key(), reference.digest(), bytes)?;
                leases.push((at, lease));
                Ok(())
            };
            detach_body(&mut event.body, &mut put)?;
        }
        Ok((events, leases))
    }

    /// A reference that a message brings along must be to a medium of this very session.
    fn claimed(&self, entry: Option<&Entry>, reference: &MediaRef) -> Result<Lease> {
        let loaded;
        let entry = if entry.is_some() {
            entry
        } else {
            loaded = Entry::load(&**self.inner().log(), self.key())?;
            loaded.as_ref()
        };
        let lineage = entry.map_or_else(|| Lineage::new(self.key()), |it| it.lineage(self.key()));
        let inner = self.inner();
        let lease = inner.media().claim(&**inner.log(), &streams(&lineage), reference.digest())?;
        lease.ok_or_else(|| {
            Error::invalid(format!("it refers to {reference}, which the session does not hold"))
        })
    }

    /// A message with its media inside.
    pub(crate) fn attach(&self, streams: &[Digest], message: Message) -> Result<Message> {
        media::attach(message, &mut |reference: &MediaRef| {
            self.inner().media().read(streams, reference.digest(), reference.size())
        })
    }

    /// The bytes of a medium.
    pub(crate) fn read_media(&self, streams: &[Digest], reference: &MediaRef) -> Result<Vec<u8>> {
        self.inner().media().read(streams, reference.digest(), reference.size())
    }

    /// A JSON document with its media inside.
    pub(crate) fn attach_json(&self, streams: &[Digest], json: Json) -> Result<Json> {
        let attached =
            media::attach_json(&json, &mut |reference| self.read_media(streams, reference))?;
        Ok(attached.unwrap_or(json))
    }

    /// The streams whose media the session's messages refer to.
    pub(crate) fn media_streams(&self) -> Result<Vec<Digest>> {
        self.head().map(|(lineage, _)| streams(&lineage))
    }
}

impl Engine {
    /// The media that are stored, and how many events refer to each.
    pub fn blobs(&self) -> Result<Vec<BlobUse>> {
        let mut all = Vec::new();
        self.inner.each_blob(&mut |name, bytes| {
            let uses = Scan::new(&**self.inner.log(), key::blob_uses(&name.to_bytes()));
            let uses = uses.collect::<Result<Vec<_>>>()?.len() as u64;
            all.push(BlobUse { name: name.to_string(), bytes, uses });
            Ok(())
        })?;
        Ok(all)
    }

    /// Removes the media that nothing refers to: what a crash left between storing a medium and
    /// its message. Returns what was, or with `dry_run` would be, removed.
    pub fn collect_blobs(&self, dry_run: bool) -> Result<Vec<BlobUse>> {
        let unused = self.blobs()?.into_iter().filter(|blob| blob.uses == 0);
        if dry_run {
            return Ok(unused.collect());
        }
        self.inner.committer()?;
        let names = unused.map(|blob| blob.name.parse()).collect::<Result<Vec<BlobName>>>()?;
        let removed = self.inner.media().collect(&**self.inner.log(), names)?;
        let used =
            |(name, bytes): (BlobName, u64)| BlobUse { name: name.to_string(), bytes, uses: 0 };
        Ok(removed.into_iter().map(used).collect())
    }
}

impl Inner {
    fn each_blob(&self, visit: &mut dyn FnMut(BlobName, u64) -> Result<()>) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.media().blobs().names(after, crate::limits::PAGE_RECORDS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            page.into_iter().try_for_each(|(name, bytes)| visit(name, bytes))?;
        }
    }

    /// The names of the blobs that a body may refer to.
    pub(super) fn blob_names(&self, session: Digest, body: &EventBody) -> Result<Vec<[u8; 32]>> {
        let references = references(body);
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let lineage = match Entry::load(&**self.log(), session)? {
            Some(entry) => entry.lineage(session),
            None => Lineage::new(session),
        };
        let mut names = Vec::new();
        for reference in references {
            for stream in streams(&lineage) {
                let found = self.media().names(stream, reference.digest())?;
                names.extend(found.into_iter().map(BlobName::to_bytes));
            }
        }
        Ok(names)
    }

    /// Removes those of the blobs that no event refers to any more; returns them with their bytes.
    pub(super) fn collect_dropped(&self, names: &[[u8; 32]]) -> Result<Vec<(BlobName, u64)>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let removed = self.media().collect(&**self.log(), names.iter().map(to_name))?;
        // One that is still used stays noted: whoever drops its last use does so at this moment.
        let mut batch = Batch::new();
        for name in names {
            if self.media().blobs().size(to_name(name))?.is_none() {
                batch.remove(key::dropped(name));
            }
        }
        self.committer()?.maintain(batch)?;
        Ok(removed)
    }

    /// Removes what was dropped and not collected when the last process ended.
    pub(super) fn finish_collection(&self) -> Result<()> {
        let dropped = key::class_range(key::Class::Dropped, Order::Ascending);
        let parse = |record: Result<Record>| key::parse_blob(&record?.key);
        let names = Scan::new(&**self.log(), dropped).map(parse).collect::<Result<Vec<_>>>()?;
        if names.is_empty() {
            return Ok(());
        }
        self.media().collect(&**self.log(), names.iter().map(to_name))?;
        let mut batch = Batch::new();
        for name in &names {
            batch.remove(key::dropped(name));
        }
        self.committer()?.maintain(batch)
    }
}

fn to_name(bytes: &[u8; 32]) -> BlobName {
    BlobName::from_bytes(*bytes)
}

/// The streams that hold a session's events, its own first.
fn streams(lineage: &Lineage) -> Vec<Digest> {
    lineage.streams().collect()
}

fn may_hold_media(body: &EventBody) -> bool {
    match body {
        EventBody::MessageAdded(added) => {
            matches!(added.message.content, crate::message::Content::Parts(_))
                || !added.message.extra.is_empty()
        }
        EventBody::RunStarted(started) => started.input.is_some() || !started.extra.is_empty(),
        EventBody::ImportedFrom(imported) => imported.data.is_some(),
        _ => false,
    }
}

fn detach_body(
    body: &mut EventBody,
    put: &mut dyn FnMut(&MediaRef, &[u8]) -> Result<()>,
) -> Result<()> {
    match body {
        EventBody::MessageAdded(added) => {
            let empty = Message::new(added.message.role.clone(), crate::message::Content::Absent);
            let message = std::mem::replace(&mut added.message, empty);
            added.message = media::detach(message, put)?;
        }
        EventBody::RunStarted(started) => {
            if let Some(input) = &mut started.input {
                detach_json(input, Some("input"), put)?;
            }
            for Field { name, value } in &mut started.extra {
                detach_json(value, Some(name.as_str()), put)?;
            }
        }
        EventBody::ImportedFrom(imported) => {
            if let Some(data) = &mut imported.data {
                detach_json(data, None, put)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn detach_json(
    json: &mut Json,
    name: Option<&str>,
    put: &mut dyn FnMut(&MediaRef, &[u8]) -> Result<()>,
) -> Result<()> {
    if let Some(left) = media::detach_json(json, name, put)? {
        *json = left;
    }
    Ok(())
}
