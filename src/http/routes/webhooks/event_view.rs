//! A request as the key of its event is read from it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::http::admission::signatures::SignedId;
use crate::model::request::{JsonPointer, Lookup, RequestView, scalar_text, value_at};

/// A request to a source.
pub(super) struct EventView<'a> {
    /// The request; its body is decoded.
    pub request: RequestView<'a>,
    /// The JSON document in the body; none if the body is something else, or isn't there yet.
    pub document: Option<&'a RawValue>,
    /// The bytes of the body as they were sent.
    pub sent: &'a [u8],
    /// The header of the event's id, if its scheme has two names for it.
    pub signed_id: Option<SignedId>,
}

impl<'a> EventView<'a> {
    /// The text of the string, number or boolean at a JSON pointer into the body, as it was sent: a
    /// large number is not rounded.
    pub fn scalar_at(&self, pointer: &str) -> Lookup<Cow<'a, str>> {
        let (Some(document), Some(pointer)) = (self.document, JsonPointer::parse(pointer)) else {
            return Ok(None);
        };
        match value_at(document, &pointer)? {
            Some(value) => scalar_text(value),
            None => Ok(None),
        }
    }
}
