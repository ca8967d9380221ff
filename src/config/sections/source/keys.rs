//! `[sources.NAME.idempotency]`: where an event's idempotency key is found.

use serde::Deserialize;

use crate::config::rules::{Checked, bad, is_header_name, quoted};

/// Where an event's idempotency key is found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IdempotencyKeyAt {
    /// In the header of this name.
    Header(String),
    /// In the JSON body, at this pointer (RFC 6901).
    JsonPointer(String),
}

impl Default for IdempotencyKeyAt {
    fn default() -> Self {
        Self::Header("Idempotency-Key".to_owned())
    }
}

impl IdempotencyKeyAt {
    pub(super) fn check(&self, key: &str, accepts_any_content: bool) -> Checked {
        match self {
            Self::Header(header) if !is_header_name(header) => bad(
                &format!("{key}.header"),
                quoted(header),
                "the name of an HTTP header",
            ),
            Self::JsonPointer(pointer) if !pointer.starts_with('/') => bad(
                &format!("{key}.json_pointer"),
                quoted(pointer),
                "a JSON pointer such as \"/id\"",
            ),
            Self::JsonPointer(_) if accepts_any_content => Err((
                format!("{key}.json_pointer"),
                "contradicts accept_any_content: a body that isn't JSON has no key".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}
