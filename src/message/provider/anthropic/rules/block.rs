//! The rules of one block by itself.

use std::slice;

use serde_json::{Map, Value};

use super::super::super::image::{MEDIA_TYPES, is_base64, is_web};
use super::super::super::members::{inner, maybe_text, not_empty, object, only, string};
use super::super::kind::is_blank;
use crate::message::rule::{Broken, Rule};
use crate::message::{MediaForm, MediaRef};

pub(super) fn check_text(text: &str) -> Result<(), Broken> {
    let wordless = || Rule::Content.broken("text without a word");
    if is_blank(text) { Err(wordless()) } else { Ok(()) }
}

pub(super) fn check_text_block(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "text", "cache_control", "citations"])?;
    if !matches!(block.get("citations"), None | Some(Value::Null | Value::Array(_))) {
        return Err(Rule::Shape.broken("citations is no list"));
    }
    check_text(string(block, "text")?)
}

/// How many of these blocks, and of those within them, end what is to be cached.
pub(super) fn count_cached(blocks: &[Value]) -> Result<usize, Broken> {
    let mut count = 0;
    for block in blocks {
        count += usize::from(is_cached(block)?);
        // What a tool was called with is not the API's to read.
        for inside in ["content", "source", "tool_references"] {
            count += match block.get(inside) {
                Some(Value::Array(blocks)) => count_cached(blocks)?,
                Some(block @ Value::Object(_)) => count_cached(slice::from_ref(block))?,
                _ => 0,
            };
        }
    }
    Ok(count)
}

fn is_cached(block: &Value) -> Result<bool, Broken> {
    let Some(mark) = block.get("cache_control").filter(|mark| !mark.is_null()) else {
        return Ok(false);
    };
    let mark = object(mark, "cache_control")?;
    only(mark, &["type", "ttl"])?;
    let is_known = string(mark, "type")? == "ephemeral"
        && mark.get("ttl").is_none_or(|ttl| ttl == "5m" || ttl == "1h");
    if is_known {
        Ok(true)
    } else {
        Err(Rule::Caching.broken("cache_control is not as documented"))
    }
}

/// Blocks of a list that may hold nothing but text.
pub(super) fn check_plain_blocks(blocks: &[Value], what: &str) -> Result<(), Broken> {
    blocks.iter().try_for_each(|block| check_plain_block(block, what))
}

fn check_plain_block(block: &Value, what: &str) -> Result<(), Broken> {
    let block = object(block, what)?;
    let kind = string(block, "type")?;
    if kind != "text" {
        let detail = format!("{what} is of type {kind:?}, where nothing but text has a place");
        return Err(Rule::KnownPart.broken(detail));
    }
    check_text_block(block)
}

/// A block of a tool's result.
pub(super) fn check_result_block(block: &Value, is_error: bool) -> Result<(), Broken> {
    let block = object(block, "a result's block")?;
    match string(block, "type")? {
        "text" => check_text_block(block),
        kind if is_error => {
            let detail = format!("a block of type {kind:?} in a result that is an error");
            Err(Rule::KnownPart.broken(detail))
        }
        "image" => check_image(block),
        "document" => check_document(block),
        "search_result" => check_search_result(block),
        "tool_reference" => {
            only(block, &["type", "tool_name", "cache_control"])?;
            not_empty(block, "tool_name")
        }
        kind => {
            let detail = format!("a block of type {kind:?} has no place in a result");
            Err(Rule::KnownPart.broken(detail))
        }
    }
}

pub(super) fn check_search_result(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "title", "content", "citations", "cache_control"])?;
    not_empty(block, "source")?;
    not_empty(block, "title")?;
    let content = block.get("content").and_then(Value::as_array).filter(|it| !it.is_empty());
    let content = content.ok_or_else(|| {
        Rule::Content.broken("a search result's content is no list of at least one block")
    })?;
    check_plain_blocks(content, "a search result's block")
}

pub(super) fn check_document(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "title", "context", "citations", "cache_control"])?;
    maybe_text(block, "title")?;
    maybe_text(block, "context")?;
    let source = inner(block, "source")?;
    match string(source, "type")? {
        "base64" => check_data(source, &["application/pdf"]),
        "text" => {
            only(source, &["type", "media_type", "data"])?;
            check_media_type(source, &["text/plain"])?;
            string(source, "data").map(|_| ())
        }
        "content" => {
            only(source, &["type", "content"])?;
            check_document_content(source.get("content"))
        }
        "url" => check_url(source),
        "file" => check_file(source),
        kind => Err(Rule::Media.broken(format!("{kind:?} is no type of a document's source"))),
    }
}

fn check_document_content(content: Option<&Value>) -> Result<(), Broken> {
    let blocks = match content {
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(blocks)) => blocks,
        _ => {
            let detail = "a document's content is neither text nor a list of blocks";
            return Err(Rule::Content.broken(detail));
        }
    };
    blocks.iter().try_for_each(|block| match block.get("type").and_then(Value::as_str) {
        Some("image") => check_image(object(block, "a document's block")?),
        _ => check_plain_block(block, "a document's block"),
    })
}

pub(super) fn check_image(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "cache_control"])?;
    let source = inner(block, "source")?;
    match string(source, "type")? {
        "base64" => check_data(source, &MEDIA_TYPES),
        "url" => check_url(source),
        "file" => check_file(source),
        kind => Err(Rule::Media.broken(format!("{kind:?} is no type of an image's source"))),
    }
}

/// Bytes, or a reference that stands for them.
fn check_data(source: &Map<String, Value>, media_types: &[&str]) -> Result<(), Broken> {
    only(source, &["type", "media_type", "data"])?;
    check_media_type(source, media_types)?;
    let data = string(source, "data")?;
    let is_data = match data.parse::<MediaRef>() {
        Ok(reference) => reference.form() == MediaForm::Base64,
        Err(_) => is_base64(data),
    };
    if is_data { Ok(()) } else { Err(Rule::Media.broken("data is no Base64 of at least one byte")) }
}

fn check_media_type(source: &Map<String, Value>, taken: &[&str]) -> Result<(), Broken> {
    let media_type = string(source, "media_type")?;
    if taken.contains(&media_type) {
        return Ok(());
    }
    let detail = format!("{media_type:?} is no media type that is taken: {}", taken.join(", "));
    Err(Rule::Media.broken(detail))
}

fn check_url(source: &Map<String, Value>) -> Result<(), Broken> {
    only(source, &["type", "url"])?;
    if is_web(string(source, "url")?, &["https://"]) {
        return Ok(());
    }
    Err(Rule::Media.broken("a source's url is no address that begins with https://"))
}

fn check_file(source: &Map<String, Value>) -> Result<(), Broken> {
    only(source, &["type", "file_id"])?;
    not_empty(source, "file_id")
}
