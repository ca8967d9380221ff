//! `[sources.NAME] event_type`: where an event's type is found.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::keys::check_pointer;
use crate::config::rules::{Checked, bad, is_header_name, quoted};
use crate::model::request::{JsonPointer, last_value_at, scalar_text};

/// The longest type, in characters: that of a relay's.
const MAX_EVENT_TYPE: usize = 128;

/// Where an event's type is found. A type is 1 to 128 visible ASCII characters; an event without
/// one has no type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The type of an event; none if there is none, or it isn't 1 to 128 visible ASCII characters.
    /// `values` are the values of a header of this name; `document` is the body, if it is JSON.
    pub(crate) fn read<'a, V>(
        &'a self,
        values: impl FnOnce(&'a str) -> V,
        document: Option<&'a RawValue>,
    ) -> Option<String>
    where
        V: Iterator<Item = &'a [u8]>,
    {
        let text = match self {
            Self::Header(name) => {
                let mut values = values(name);
                let value = values.next().filter(|_| values.next().is_none())?;
                std::str::from_utf8(value).ok().map(Cow::Borrowed)
            }
            Self::JsonPointer(pointer) => {
                let value = last_value_at(document?, &JsonPointer::parse(pointer)?)?;
                scalar_text(value).ok()?
            }
        }?;
        let is_type = (1..=MAX_EVENT_TYPE).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_type.then(|| text.into_owned())
    }
}
