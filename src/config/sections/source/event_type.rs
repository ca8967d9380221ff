//! `[sources.NAME] event_type`: where an event's type is found.

use serde::Deserialize;

use super::keys::check_pointer;
use crate::config::rules::{Checked, bad, is_header_name, quoted};

/// Where an event's type is found. A type is 1 to 128 visible ASCII characters; an event without
/// one has no type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventTypeAt {
    /// In the header of this name.
    Header(String),
    /// In the JSON body, at this pointer (RFC 6901).
    JsonPointer(String),
}

impl EventTypeAt {
    pub(super) fn check(&self, key: &str) -> Checked {
        match self {
            Self::Header(name) if !is_header_name(name) => bad(
                &format!("{key}.header"),
                quoted(name),
                "the name of an HTTP header",
            ),
            Self::Header(_) => Ok(()),
            Self::JsonPointer(pointer) => check_pointer(&format!("{key}.json_pointer"), pointer),
        }
    }
}
