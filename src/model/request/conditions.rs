//! Conditions on a request: the `when` of a handshake or scheme, and a source's `require`.
//!
//! `deserialize`: reads them.

mod deserialize;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use ::http::HeaderName;
use ::http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::json::{Ambiguous, JsonPointer, Lookup, document, scalar_text, strict_value_at};
use super::template::Template;
use super::view::RequestView;
use crate::model::number::Number;

/// Patterns by header, query field and JSON pointer. All lines must match, each by one of its
/// patterns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// By the header's name.
    pub headers: BTreeMap<String, Vec<Pattern>>,
    /// By the field's name.
    pub query: BTreeMap<String, Vec<Pattern>>,
    /// By the JSON pointer.
    pub body: BTreeMap<String, Vec<Pattern>>,
}

/// The value that a line expects.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// This text, which may have parts of the request in it.
    Text(Template),
    /// This number, however it is written: `1`, `1.0` and `1e0` are the same.
    Number(Number),
    /// This truth value.
    Bool(bool),
    /// A value that all of these hold for.
    Operators(Box<Operators>),
}

/// Conditions on one value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Operators {
    /// A number of at least this.
    pub min: Option<Number>,
    /// A number of at most this.
    pub max: Option<Number>,
    /// A text that begins so.
    pub prefix: Option<String>,
    /// A text that ends so.
    pub suffix: Option<String>,
    /// A text that holds this.
    pub contains: Option<String>,
    /// This text, in any case of ASCII letters.
    pub equals_ignore_case: Option<String>,
    /// Whether the value is there, `null` included.
    pub exists: Option<bool>,
    /// A value that is there, and that none of these match.
    pub not: Option<OneOrMany>,
}

/// A pattern, or a list of patterns.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany(pub Vec<Pattern>);

/// A value of the request.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// A media type in lower case: its own case means nothing (RFC 9110, 8.3.1).
    MediaType(String),
    Number(&'a str),
    Bool(bool),
    /// `null`, an object, an array, or bytes that are no text.
    Other,
}

impl Conditions {
    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty() && self.body.is_empty()
    }

    /// Whether some line looks at the body, or at a part of it.
    pub fn needs_body(&self) -> bool {
        !self.body.is_empty() || self.templates().any(Template::needs_body)
    }

    /// The templates of all patterns.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let lines = [&self.headers, &self.query, &self.body].into_iter();
        lines
            .flat_map(BTreeMap::values)
            .flatten()
            .flat_map(Pattern::templates)
    }

    /// Whether every line matches. A value that is there twice matches nothing.
    pub fn match_request(&self, request: &RequestView<'_>) -> bool {
        self.first_mismatch(request).is_none()
    }

    /// The first line that doesn't match, such as `body./kind`.
    pub fn first_mismatch(&self, request: &RequestView<'_>) -> Option<String> {
        let (place, name) = self.find_mismatch(request)?;
        Some(format!("{place}.{name}"))
    }

    /// Why a request doesn't match, by the first line of the head that doesn't.
    pub fn explain_head(&self, request: &RequestView<'_>) -> Option<String> {
        let (place, name) = self.find_mismatch(request)?;
        Some(explained(place, name, request))
    }

    fn find_mismatch(&self, request: &RequestView<'_>) -> Option<(&'static str, &str)> {
        let headers = self.headers.iter().map(|(name, patterns)| {
            let matches = any(patterns, header(request, name), request);
            (matches, "headers", name)
        });
        let query = self.query.iter().map(|(name, patterns)| {
            let matches = any(patterns, query_field(request, name), request);
            (matches, "query", name)
        });
        // Parsed once, and only if there is a line for it.
        let document = (!self.body.is_empty()).then(|| document(request.body));
        let document = document.and_then(Result::ok);
        let body = self.body.iter().map(|(pointer, patterns)| {
            let value = match (document, JsonPointer::parse(pointer)) {
                (Some(document), Some(pointer)) => strict_value_at(document, &pointer)
                    .map(|value| value.map(|value| Value::of(value.get(), value))),
                // A body that is no JSON matches no line, not even one for a missing value.
                _ => Err(Ambiguous),
            };
            (any(patterns, value, request), "body", pointer)
        });
        headers
            .chain(query)
            .chain(body)
            .find(|(matches, ..)| !matches)
            .map(|(_, place, name)| (place, name.as_str()))
    }
}

/// Why a line of a head doesn't match, in the words of a sender.
fn explained(place: &str, name: &str, request: &RequestView<'_>) -> String {
    let (values, name) = if place == "query" {
        let query = request.query.unwrap_or_default().as_bytes();
        let Some(fields) = super::form::fields(query) else {
            return format!(
                "the query has more than {} parameters",
                super::form::MAX_FIELDS
            );
        };
        let found = fields
            .iter()
            .filter(|(known, _)| known.as_ref() == name.as_bytes());
        (found.count(), format!("the query's parameter {name}"))
    } else {
        (
            request.headers.get_all(name).iter().count(),
            name.to_owned(),
        )
    };
    match values {
        0 => format!("{name} is missing"),
        1 => format!("{name} has a value that is not supported"),
        _ => format!("{name} is there more than once"),
    }
}

fn any(patterns: &[Pattern], value: Lookup<Value<'_>>, request: &RequestView<'_>) -> bool {
    let Ok(value) = value else {
        return false;
    };
    patterns
        .iter()
        .any(|pattern| pattern.matches(value.as_ref(), request))
}

fn header<'a>(request: &RequestView<'a>, name: &str) -> Lookup<Value<'a>> {
    let Ok(name) = HeaderName::try_from(name) else {
        return Err(Ambiguous);
    };
    if !request.headers.contains_key(&name) {
        return Ok(None);
    }
    let value = request.header(&name).ok_or(Ambiguous)?;
    let value = Value::of_bytes(Cow::Borrowed(value));
    Ok(Some(match value {
        Value::Text(text) if name == CONTENT_TYPE => Value::MediaType(text.to_ascii_lowercase()),
        value => value,
    }))
}

fn query_field<'a>(request: &RequestView<'a>, name: &str) -> Lookup<Value<'a>> {
    let query = request.query.unwrap_or_default().as_bytes();
    let fields = super::form::fields(query).ok_or(Ambiguous)?;
    let mut found = fields
        .into_iter()
        .filter(|(known, _)| known.as_ref() == name.as_bytes());
    let Some((_, value)) = found.next() else {
        return Ok(None);
    };
    match found.next() {
        None => Ok(Some(Value::of_bytes(value))),
        Some(_) => Err(Ambiguous),
    }
}

impl<'a> Value<'a> {
    fn of_bytes(bytes: Cow<'a, [u8]>) -> Self {
        let text = match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        text.map_or(Self::Other, Self::Text)
    }

    fn of(text: &'a str, value: &'a serde_json::value::RawValue) -> Self {
        match text.as_bytes().first() {
            Some(b'"') => match scalar_text(value) {
                Ok(Some(text)) => Self::Text(text),
                _ => Self::Other,
            },
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'-' | b'0'..=b'9') => Self::Number(text),
            _ => Self::Other,
        }
    }

    /// How a number compares with another. None for any other value.
    fn compare(&self, other: &Number) -> Option<Ordering> {
        match self {
            Self::Number(text) => other.compare(text),
            _ => None,
        }
    }

    /// Whether it is a text, and one that something holds for, given the expected one.
    fn is_text(&self, expected: &str, holds: fn(&str, &str) -> bool) -> bool {
        match self {
            Self::Text(text) => holds(text, expected),
            Self::MediaType(text) => holds(text, &expected.to_ascii_lowercase()),
            _ => false,
        }
    }
}

impl Pattern {
    fn matches(&self, value: Option<&Value<'_>>, request: &RequestView<'_>) -> bool {
        match (self, value) {
            (Self::Operators(operators), value) => operators.match_value(value, request),
            (Self::Text(expected), Some(value)) => {
                let expected = expected.text(request);
                expected.is_some_and(|expected| value.is_text(&expected, |text, all| text == all))
            }
            (Self::Number(expected), Some(value)) => {
                value.compare(expected) == Some(Ordering::Equal)
            }
            (Self::Bool(expected), Some(Value::Bool(found))) => expected == found,
            (_, None) | (Self::Bool(_), Some(_)) => false,
        }
    }

    /// The templates of this pattern.
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Text(template) => vec![template],
            Self::Operators(operators) => {
                let not = operators.not.iter().flat_map(|not| &not.0);
                not.flat_map(Pattern::templates).collect()
            }
            Self::Number(_) | Self::Bool(_) => Vec::new(),
        }
    }
}

impl Operators {
    fn match_value(&self, value: Option<&Value<'_>>, request: &RequestView<'_>) -> bool {
        if let Some(exists) = self.exists
            && exists != value.is_some()
        {
            return false;
        }
        let Some(value) = value else {
            // Every other operator wants a value.
            return self.exists == Some(false) && self.only_exists();
        };
        let number = |bound: &Option<Number>, holds: fn(Ordering) -> bool| {
            let bound = bound.as_ref();
            bound.is_none_or(|bound| value.compare(bound).is_some_and(holds))
        };
        let text = |expected: &Option<String>, holds: fn(&str, &str) -> bool| {
            let expected = expected.as_deref();
            expected.is_none_or(|expected| value.is_text(expected, holds))
        };
        let not = self.not.iter().flat_map(|not| &not.0);
        number(&self.min, Ordering::is_ge)
            && number(&self.max, Ordering::is_le)
            && text(&self.prefix, |text, prefix| text.starts_with(prefix))
            && text(&self.suffix, |text, suffix| text.ends_with(suffix))
            && text(&self.contains, |text, part| text.contains(part))
            && text(&self.equals_ignore_case, str::eq_ignore_ascii_case)
            && !not
                .into_iter()
                .any(|pattern| pattern.matches(Some(value), request))
    }

    /// Whether only a text can match.
    pub fn wants_text(&self) -> bool {
        let texts = [
            &self.prefix,
            &self.suffix,
            &self.contains,
            &self.equals_ignore_case,
        ];
        texts.into_iter().any(Option::is_some)
    }

    /// Whether `exists` is the only operator.
    pub fn only_exists(&self) -> bool {
        *self
            == Self {
                exists: self.exists,
                ..Self::default()
            }
    }
}
