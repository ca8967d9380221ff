//! Values within a JSON document, by pointer (RFC 6901), as they were sent.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value that was looked for. `Ok(None)` if it is missing; an error if it is ambiguous, because a
/// member on the way to it is repeated, or if the document is no JSON.
pub type Lookup<T> = Result<Option<T>, Ambiguous>;

/// Readers could disagree about the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// A JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

impl JsonPointer {
    /// Parses a pointer. Other than in RFC 6901 it is not empty: a whole document is no value.
    pub fn parse(text: &str) -> Option<Self> {
        let tokens = text.strip_prefix('/')?.split('/');
        let tokens: Option<Vec<String>> = tokens.map(unescaped).collect();
        Some(Self {
            text: text.to_owned(),
            tokens: tokens?,
        })
    }

    /// The pointer as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tokens in order, without their escapes.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

/// A token without its escapes, `~0` and `~1`. None for any other `~`.
fn unescaped(token: &str) -> Option<String> {
    let mut rest = token.split('~');
    let mut text = rest.next().unwrap_or_default().to_owned();
    for part in rest {
        text.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        text.push_str(&part[1..]);
    }
    Some(text)
}

/// The JSON document in a body. A byte order mark before it is ignored.
pub fn document(body: &[u8]) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

/// Why a body is no JSON document; none if it is one.
pub fn problem_of(body: &[u8]) -> Option<String> {
    let error = document(body).err()?;
    Some(if body.is_empty() {
        "the body is empty".to_owned()
    } else {
        format!("the body is not JSON ({error})")
    })
}

/// The value at a pointer, for readers to whom a repeated member may be a forgery.
pub fn value_at<'a>(document: &'a RawValue, pointer: &JsonPointer) -> Lookup<&'a RawValue> {
    let found = find(document, pointer);
    if found.is_ambiguous {
        return Err(Ambiguous);
    }
    Ok(found.value)
}

/// As [`value_at`], for readers that decide on trust. A number in the pointer is the index of an
/// array: a member of that name is ambiguous, since a receiver may take its object for the array,
/// as PHP does, and find elements there that nobody looked at.
pub fn strict_value_at<'a>(document: &'a RawValue, pointer: &JsonPointer) -> Lookup<&'a RawValue> {
    let found = find(document, pointer);
    if found.is_ambiguous || found.has_numbered_member {
        return Err(Ambiguous);
    }
    Ok(found.value)
}

/// The value at a pointer. Of a repeated member the last one counts, as it does for routes.
pub fn last_value_at<'a>(document: &'a RawValue, pointer: &JsonPointer) -> Option<&'a RawValue> {
    find(document, pointer).value
}

/// The last value in a place, and whether another reader could find another one.
#[derive(Default)]
struct Found<'a> {
    value: Option<&'a RawValue>,
    is_ambiguous: bool,
    /// Whether a number in the pointer was the name of a member.
    has_numbered_member: bool,
}

fn find<'a>(document: &'a RawValue, pointer: &JsonPointer) -> Found<'a> {
    let mut found = Found {
        value: Some(document),
        ..Found::default()
    };
    for token in &pointer.tokens {
        let Some(value) = found.value else { break };
        let text = value.get();
        let mut from = serde_json::Deserializer::from_str(text);
        let child = if text.starts_with('{') {
            from.deserialize_map(Member(token))
        } else if let Some(index) = array_index(token).filter(|_| text.starts_with('[')) {
            from.deserialize_seq(Element(index))
        } else {
            Ok(Found::default())
        };
        let child = child.unwrap_or(Found {
            is_ambiguous: true,
            ..Found::default()
        });
        found = Found {
            value: child.value,
            is_ambiguous: found.is_ambiguous || child.is_ambiguous,
            has_numbered_member: found.has_numbered_member || child.has_numbered_member,
        };
    }
    found
}

/// The text of a string, or of a number or boolean as it was sent: a large number is not rounded.
/// `null` is a missing value; an object or an array has no text.
pub fn scalar_text(value: &RawValue) -> Lookup<Cow<'_, str>> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(text)
            .map(|text| Some(text.0))
            .map_err(|_| Ambiguous),
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') => Err(Ambiguous),
        _ => Ok(Some(Cow::Borrowed(text))),
    }
}

/// serde copies into a `Cow` unless it is told to borrow.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The index that a token means: digits without a leading zero (RFC 6901, 4).
pub fn array_index(token: &str) -> Option<usize> {
    let is_plain = token == "0" || !token.starts_with('0');
    let is_number = token.bytes().all(|b| b.is_ascii_digit());
    token.parse().ok().filter(|_| is_plain && is_number)
}

/// The name of a member. None if its escapes are no text.
fn member_name(quoted: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = quoted.get();
    if quoted.contains('\\') {
        let name: Text<'_> = serde_json::from_str(quoted).ok()?;
        return Some(name.0);
    }
    // Without escapes, as nearly all are, it is the text between the quotes: each event's members
    // are read for each pointer.
    let name = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(Cow::Borrowed(name))
}

/// The last member of this name. A name that is no text is none of those that are looked for.
struct Member<'t>(&'t str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::default();
        while let Some(name) = map.next_key::<&RawValue>()? {
            let name = member_name(name);
            if name.as_deref() == Some(self.0) {
                found.is_ambiguous |= found.value.is_some();
                found.has_numbered_member = array_index(self.0).is_some();
                found.value = Some(map.next_value::<&RawValue>()?);
            } else {
                found.is_ambiguous |= name.is_none();
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The element of this index.
struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0;
        while let Some(element) = elements.next_element_seed(If(at == self.0))? {
            found = found.or(element);
            at += 1;
        }
        Ok(Found {
            value: found,
            ..Found::default()
        })
    }
}

/// Keeps a value, or skips it.
struct If(bool);

impl<'de> DeserializeSeed<'de> for If {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        if self.0 {
            <&RawValue as serde::Deserialize>::deserialize(from).map(Some)
        } else {
            <IgnoredAny as serde::Deserialize>::deserialize(from).map(|_| None)
        }
    }
}
