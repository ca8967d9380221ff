//! `[sources.NAME] idempotency`, `idempotency_window` and `on_redelivery`: which requests are the
//! same event.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::rules::{Checked, MAX_WAIT, bad, is_header_name, quoted, shown};

/// Headers that together are one key, at most.
const MAX_HEADERS: usize = 8;
/// Places in a list, at most.
const MAX_PLACES: usize = 8;

/// Where an event's idempotency key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyKeyAt {
    /// Nowhere: each request is an event.
    None,
    /// The SHA-256 of the body's bytes as they were sent.
    Body,
    /// In the header of this name.
    Header(String),
    /// In the headers of these names together. One that is missing means that there is no key.
    Headers(Vec<String>),
    /// In the JSON body, at this pointer (RFC 6901).
    JsonPointer(String),
    /// In the field of this name of a body that is a form.
    Form(String),
    /// In the parameter of this name of the query.
    Query(String),
    /// In the first of these places that has one.
    FirstOf(Vec<IdempotencyKeyAt>),
}

impl Default for IdempotencyKeyAt {
    fn default() -> Self {
        Self::Header("Idempotency-Key".to_owned())
    }
}

/// The action of a duplicate whose event is dead-lettered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RedeliveryAction {
    /// None.
    #[default]
    Ignore,
    /// Replay the event, if all of its deliveries are dead-lettered and the bytes are the same.
    ReplayDead,
}

const EXPECTED: &str = "\"none\", \"body\", one of { header }, { headers }, { json_pointer }, \
                        { form } and { query }, or a list of them";

impl IdempotencyKeyAt {
    /// The places in order; one that isn't a list is the only one.
    pub fn places(&self) -> &[Self] {
        match self {
            Self::FirstOf(places) => places,
            one => std::slice::from_ref(one),
        }
    }

    /// The headers that keys are found in.
    pub(in crate::config) fn headers(&self) -> Vec<&str> {
        let headers = self.places().iter().flat_map(|place| match place {
            Self::Header(name) => std::slice::from_ref(name),
            Self::Headers(names) => names.as_slice(),
            _ => &[],
        });
        headers.map(String::as_str).collect()
    }

    /// The fields of the query that keys are found in.
    pub(in crate::config) fn query_fields(&self) -> Vec<&str> {
        let fields = self.places().iter().filter_map(|place| match place {
            Self::Query(name) => Some(name.as_str()),
            _ => None,
        });
        fields.collect()
    }

    /// Whether every request has a key, or needs none.
    pub(crate) fn is_always_found(&self) -> bool {
        let last = self.places().last();
        matches!(last, Some(Self::None | Self::Body))
    }

    /// Whether a key is found without the body.
    pub(crate) fn is_before_body(&self) -> bool {
        let is_early =
            |place: &Self| matches!(place, Self::Header(_) | Self::Headers(_) | Self::Query(_));
        self.places().iter().all(is_early)
    }

    pub(super) fn check(&self, key: &str, accepts_any_content: bool) -> Checked {
        let Self::FirstOf(places) = self else {
            return self.check_place(key, accepts_any_content, false);
        };
        if places.is_empty() || places.len() > MAX_PLACES {
            let expected = format!("1 to {MAX_PLACES} places");
            return bad(key, places.len(), &expected);
        }
        let is_backed = self.is_always_found();
        for (at, place) in places.iter().enumerate() {
            if matches!(place, Self::None | Self::Body) && at + 1 < places.len() {
                let problem = format!(
                    "{}: every request has one, so that the places after it are never looked at: \
                     expected it at the end of the list",
                    place.name()
                );
                return Err((format!("{key}[{at}]"), problem));
            }
            if places[..at].contains(place) {
                return bad(&format!("{key}[{at}]"), place.name(), "each place once");
            }
            place.check_place(&format!("{key}[{at}]"), accepts_any_content, is_backed)?;
        }
        Ok(())
    }

    /// Checks one place. `is_backed`: a later place of the list has a key for any content.
    fn check_place(&self, key: &str, accepts_any_content: bool, is_backed: bool) -> Checked {
        match self {
            Self::None | Self::Body | Self::FirstOf(_) => Ok(()),
            Self::Header(header) => check_header(&format!("{key}.header"), header),
            Self::Headers(headers) => {
                let key = format!("{key}.headers");
                if headers.is_empty() || headers.len() > MAX_HEADERS {
                    let expected = format!("1 to {MAX_HEADERS} names of headers");
                    return bad(&key, headers.len(), &expected);
                }
                for (at, header) in headers.iter().enumerate() {
                    check_header(&format!("{key}[{at}]"), header)?;
                    if headers[..at]
                        .iter()
                        .any(|other| other.eq_ignore_ascii_case(header))
                    {
                        return bad(&format!("{key}[{at}]"), quoted(header), "each header once");
                    }
                }
                Ok(())
            }
            Self::JsonPointer(pointer) => {
                let key = format!("{key}.json_pointer");
                check_pointer(&key, pointer)?;
                if accepts_any_content && !is_backed {
                    let problem = "contradicts accept_any_content: a body that isn't JSON has no \
                                   key; expected a list that ends in \"body\" or \"none\"";
                    return Err((key, problem.to_owned()));
                }
                Ok(())
            }
            Self::Form(name) => {
                let key = format!("{key}.form");
                check_field(&key, name)?;
                if !accepts_any_content {
                    let problem = "needs accept_any_content = true: a form isn't JSON, and is \
                                   refused without it";
                    return Err((key, problem.to_owned()));
                }
                Ok(())
            }
            Self::Query(name) => check_field(&format!("{key}.query"), name),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::None => quoted("none"),
            Self::Body => quoted("body"),
            Self::Header(name) => format!("{{ header = {name:?} }}"),
            Self::Headers(names) => format!("{{ headers = {names:?} }}"),
            Self::JsonPointer(pointer) => format!("{{ json_pointer = {pointer:?} }}"),
            Self::Form(name) => format!("{{ form = {name:?} }}"),
            Self::Query(name) => format!("{{ query = {name:?} }}"),
            Self::FirstOf(_) => "a list".to_owned(),
        }
    }
}

/// Checks a source's own window.
pub(super) fn check_window(key: &str, window: Duration, at: &IdempotencyKeyAt) -> Checked {
    if *at == IdempotencyKeyAt::None {
        let problem = "contradicts idempotency = \"none\" (the source's or its provider's): \
                       without a key nothing is a duplicate";
        return Err((key.to_owned(), problem.to_owned()));
    }
    if window.is_zero() || window > MAX_WAIT {
        return bad(key, shown(window), "1ms to 30d");
    }
    Ok(())
}

fn check_header(key: &str, header: &str) -> Checked {
    if is_header_name(header) {
        return Ok(());
    }
    bad(key, quoted(header), "the name of an HTTP header")
}

/// Refuses a pointer that names no value, among them the one to the whole document.
pub(super) fn check_pointer(key: &str, pointer: &str) -> Checked {
    let is_escaped = |(at, _): (usize, &str)| pointer[at + 1..].starts_with(['0', '1']);
    if pointer.starts_with('/') && pointer.match_indices('~').all(is_escaped) {
        return Ok(());
    }
    bad(key, quoted(pointer), "a JSON pointer such as \"/id\"")
}

fn check_field(key: &str, name: &str) -> Checked {
    if name.is_empty() {
        return bad(key, quoted(name), "the name of a field");
    }
    Ok(())
}

impl<'de> Deserialize<'de> for IdempotencyKeyAt {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlaceVisitor {
            may_be_a_list: true,
        })
    }
}

struct PlaceVisitor {
    may_be_a_list: bool,
}

impl<'de> Visitor<'de> for PlaceVisitor {
    type Value = IdempotencyKeyAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<IdempotencyKeyAt, E> {
        match text {
            "none" => Ok(IdempotencyKeyAt::None),
            "body" => Ok(IdempotencyKeyAt::Body),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IdempotencyKeyAt, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Place {
            Header(String),
            Headers(Vec<String>),
            JsonPointer(String),
            Form(String),
            Query(String),
        }
        let place = Place::deserialize(de::value::MapAccessDeserializer::new(&mut map))?;
        if map.next_key::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom(
                "expected one place in a table; a list of tables has several",
            ));
        }
        Ok(match place {
            Place::Header(name) => IdempotencyKeyAt::Header(name),
            Place::Headers(names) => IdempotencyKeyAt::Headers(names),
            Place::JsonPointer(pointer) => IdempotencyKeyAt::JsonPointer(pointer),
            Place::Form(name) => IdempotencyKeyAt::Form(name),
            Place::Query(name) => IdempotencyKeyAt::Query(name),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IdempotencyKeyAt, A::Error> {
        if !self.may_be_a_list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut places = Vec::new();
        while let Some(InList(place)) = seq.next_element()? {
            places.push(place);
        }
        Ok(IdempotencyKeyAt::FirstOf(places))
    }
}

/// A place within a list, which is no list.
struct InList(IdempotencyKeyAt);

impl<'de> Deserialize<'de> for InList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlaceVisitor {
            may_be_a_list: false,
        })
        .map(Self)
    }
}
