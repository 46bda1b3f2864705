//! Media in messages: where they stand, and the references that stand for their bytes.
//!
//! Everything here works on JSON text and changes nothing but the string literals it is about,
//! so what is detached and attached again is the same text.

mod detach;
mod input;
mod kinds;
mod literal;
mod reference;
mod regions;
mod remove;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::detach::{
    attach, attach_json, detach, detach_json, references, references_in,
};
pub use self::input::Media;
pub(crate) use self::input::{Source, media_type_of, url_part};
#[cfg(test)]
pub(crate) use self::kinds::is_media_member;
pub(crate) use self::kinds::is_media_part;
pub use self::reference::{MediaForm, MediaRef};
pub(crate) use self::remove::drop_media;
pub(crate) use self::write::write_attached;
