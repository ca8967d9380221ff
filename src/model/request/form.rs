//! Fields of a query or of a form (`application/x-www-form-urlencoded`), decoded to bytes: a lossy
//! decoding to text would give different requests the same signed content.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::json::{Ambiguous, Lookup};

/// Fields read of one form or query. The largest forms that providers send have some dozens.
pub const MAX_FIELDS: usize = 1000;

/// A field's name and value.
type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The fields in order. None if there are more than [`MAX_FIELDS`].
pub(super) fn fields(text: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    for field in text.split(|&b| b == b'&').filter(|field| !field.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return None;
        }
        let (name, value) = match field.iter().position(|&b| b == b'=') {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &[][..]),
        };
        fields.push((decoded(name), decoded(value)));
    }
    Some(fields)
}

/// The value of the field of this name, if it is there exactly once.
pub(super) fn single<'a>(text: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    let mut found = fields(text)?
        .into_iter()
        .filter(|(known, _)| known.as_ref() == name.as_bytes());
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

/// The value of the field of this name, told apart from one that is there twice.
pub(super) fn find<'a>(text: &'a [u8], name: &str) -> Lookup<Cow<'a, [u8]>> {
    let mut found = fields(text)
        .ok_or(Ambiguous)?
        .into_iter()
        .filter(|(known, _)| known.as_ref() == name.as_bytes());
    let value = found.next().map(|(_, value)| value);
    match found.next() {
        None => Ok(value),
        Some(_) => Err(Ambiguous),
    }
}

/// The distinct fields by name and then by value, each as its name and its value: the order that
/// Twilio signs.
pub(super) fn sorted(text: &[u8]) -> Option<Vec<u8>> {
    let mut fields = fields(text)?;
    fields.sort_unstable();
    fields.dedup();
    let mut joined = Vec::with_capacity(text.len());
    for (name, value) in fields {
        joined.extend_from_slice(&name);
        joined.extend_from_slice(&value);
    }
    Some(joined)
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|b| matches!(b, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|&b| if b == b'+' { b' ' } else { b })
        .collect();
    Cow::Owned(percent_decode(&spaced).collect())
}
