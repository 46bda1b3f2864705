//! What a policy left out of a message.

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as JsonIn, Serialize as JsonOut};

/// What a policy left out of a message, when it was written or later.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize, Deserialize, JsonIn, JsonOut,
)]
#[serde(default)]
pub struct Omitted {
    /// Whether the message as such: it is in no history any more. Its role stays, and what was
    /// spent on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub message: bool,
    /// How many calls of tools.
    #[serde(skip_serializing_if = "is_zero")]
    pub tool_calls: u32,
    /// How many images, recordings, videos and files.
    #[serde(skip_serializing_if = "is_zero")]
    pub media: u32,
    /// How many other parts that tools had said.
    #[serde(skip_serializing_if = "is_zero")]
    pub tool_parts: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Omitted {
    /// Whether the message is whole.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
