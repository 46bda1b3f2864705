//! What holds of media in messages, on real shapes and on generated ones.

mod parts;
mod properties;
mod references;
mod removal;

use std::collections::HashMap;
use std::io::{Cursor, Read};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::*;
use crate::error::{Error, Result};
use crate::json::Json;

/// Blobs in a map, as detaching stores them.
#[derive(Default)]
struct Blobs(HashMap<[u8; 32], Vec<u8>>, Vec<MediaRef>);

impl Blobs {
    fn put(&mut self, media: &MediaRef, bytes: &[u8]) -> Result<()> {
        assert_eq!(MediaRef::of(bytes, media.media_type(), media.form())?, *media);
        self.0.insert(media.digest(), bytes.to_vec());
        self.1.push(media.clone());
        Ok(())
    }

    fn get(&self, media: &MediaRef) -> Result<Vec<u8>> {
        self.0.get(&media.digest()).cloned().ok_or_else(|| Error::not_found("blob"))
    }

    fn open(&self, media: &MediaRef) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.get(media)?)))
    }

    /// Detaches a value; what was not changed comes back as it was.
    fn detach(&mut self, json: &Json, name: Option<&str>) -> Json {
        let detached = detach_json(json, name, &mut |media, bytes| self.put(media, bytes));
        detached.unwrap().unwrap_or_else(|| json.clone())
    }

    fn attach(&self, json: &Json) -> Json {
        let attached = attach_json(json, &mut |media| self.get(media));
        attached.unwrap().unwrap_or_else(|| json.clone())
    }
}

/// Base64 of bytes that differ at every place.
fn base64(len: usize) -> String {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}
