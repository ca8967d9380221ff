//! Reading a create request: every error names the member and what was expected of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::problem::Problem;
use crate::model::TargetUrl;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// What the contract freezes, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 128;
const MAX_EVENT_TYPE: usize = 128;

/// A `Content-Type` that is there must be JSON; its parameters don't matter, since JSON is UTF-8.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json && values.next().is_none() {
        Ok(())
    } else {
        Err(Problem::media_type())
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() || text.len() > MAX_IDEMPOTENCY_KEY || values.next().is_some() {
        return Err(Problem::invalid(
            IDEMPOTENCY_KEY,
            "Idempotency-Key: expected one header of 1 to 128 visible ASCII characters",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A create request, checked.
pub(super) struct Create<'a> {
    pub event_type: String,
    pub url: TargetUrl,
    pub payload: &'a RawValue,
    pub metadata: Option<&'a RawValue>,
}

/// The members as they stand in the body. Each is looked at by itself afterwards, so that an error
/// names it; the payload never is: it is kept byte for byte.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    destination: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationMembers<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    url: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn as_it_stands<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Create<'a> {
    pub fn parse(bytes: &'a Bytes) -> Result<Self, Problem> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Problem::malformed("the body is not UTF-8: expected a JSON object"))?;
        let members: Members<'_> = object("the body", None, text)?;

        let event_type = string("eventType", members.event_type)?;
        let event_type = event_type.trim();
        let is_long = event_type.chars().count() > MAX_EVENT_TYPE;
        if event_type.is_empty() || is_long || event_type.chars().any(char::is_control) {
            return Err(Problem::invalid(
                "eventType",
                "eventType: expected 1 to 128 characters without control characters",
            ));
        }

        let destination = required("destination", members.destination)?;
        let destination: DestinationMembers<'_> =
            object("destination", Some("destination"), destination.get())?;
        if string("destination.type", destination.r#type)? != "webhook" {
            return Err(Problem::invalid(
                "destination.type",
                "destination.type: expected \"webhook\"",
            ));
        }
        let url = string("destination.url", destination.url)?
            .parse()
            .map_err(|error| {
                Problem::invalid("destination.url", format!("destination.url {error}"))
            })?;

        let payload = required("payload", members.payload)?;
        if !payload.get().starts_with('{') {
            return Err(Problem::invalid(
                "payload",
                "payload: expected a JSON object",
            ));
        }
        if let Some(metadata) = members.metadata {
            check_metadata(metadata)?;
        }
        Ok(Self {
            event_type: event_type.to_owned(),
            url,
            payload,
            metadata: members.metadata,
        })
    }
}

/// An object of known members. serde would take an array for a struct too; JSON wouldn't.
fn object<'a, T: Deserialize<'a>>(
    name: &str,
    member: Option<&str>,
    text: &'a str,
) -> Result<T, Problem> {
    let problem = |message: String| match member {
        Some(member) => Problem::invalid(member, message),
        None => Problem::malformed(message),
    };
    let blank = [' ', '\t', '\r', '\n'];
    if !text.trim_start_matches(blank).starts_with('{') {
        return Err(problem(format!("{name}: expected a JSON object")));
    }
    serde_json::from_str(text).map_err(|error| {
        // serde_json's messages name the member and the place, and nothing of ours.
        problem(format!("{name}: {error}"))
    })
}

fn required<'a>(member: &str, value: Option<&'a RawValue>) -> Result<&'a RawValue, Problem> {
    value.ok_or_else(|| Problem::invalid(member, format!("{member}: missing, and required")))
}

fn string<'a>(member: &str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Problem> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'_>>(required(member, value)?.get())
        .map(|text| text.0)
        .map_err(|_| Problem::invalid(member, format!("{member}: expected a string")))
}

/// An object's members in order, repeated ones included: what a map would hide.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_map(Collect)
    }
}

fn check_metadata(metadata: &RawValue) -> Result<(), Problem> {
    let Pairs(pairs) = object("metadata", Some("metadata"), metadata.get())?;
    let mut seen = BTreeSet::new();
    for (name, value) in &pairs {
        let member = format!("metadata.{name}");
        if !value.get().starts_with('"') {
            let message = format!("{member}: expected a string");
            return Err(Problem::invalid(&member, message));
        }
        if !seen.insert(name) {
            let message = format!("{member}: expected once");
            return Err(Problem::invalid(&member, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &str) -> String {
        match Create::parse(&Bytes::copy_from_slice(body.as_bytes())) {
            Ok(_) => "fine".to_owned(),
            Err(problem) => format!("{problem:?}"),
        }
    }

    #[test]
    fn bad_requests_name_the_member() {
        let destination = r#""destination":{"type":"webhook","url":"http://example.com/"}"#;
        for (body, expected) in [
            (String::new(), "the body: expected a JSON object"),
            ("[]".to_owned(), "the body: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}}}}"#), "fine"),
            (format!(r#"{{{destination},"payload":{{}}}}"#), "eventType: missing"),
            (format!(r#"{{"eventType":5,{destination},"payload":{{}}}}"#), "eventType: expected a string"),
            (format!(r#"{{"eventType":" ",{destination},"payload":{{}}}}"#), "eventType: expected 1 to 128"),
            (format!(r#"{{"eventType":"a","eventType":"b",{destination},"payload":{{}}}}"#), "duplicate field `eventType`"),
            (format!(r#"{{"eventType":"a",{destination},"payload":[]}}"#), "payload: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination}}}"#), "payload: missing"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"extra":1}}"#), "unknown field `extra`"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}}}} x"#), "trailing characters"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":{{"k":1}}}}"#), "metadata.k: expected a string"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":[]}}"#), "metadata: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":null}}"#), "metadata: expected a JSON object"),
            (
                format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":{{"k":"1","k":"2"}}}}"#),
                "metadata.k: expected once",
            ),
            (
                format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":{{"k":1,"k":"2"}}}}"#),
                "metadata.k: expected a string",
            ),
            (r#"{"eventType":"a","destination":["webhook","http://x/"],"payload":{}}"#.to_owned(), "destination: expected a JSON object"),
            (r#"{"eventType":"a","destination":{"type":"queue","url":"http://x/"},"payload":{}}"#.to_owned(), "destination.type: expected"),
            (r#"{"eventType":"a","destination":{"type":"webhook","url":"/x"},"payload":{}}"#.to_owned(), "destination.url must be an absolute"),
            (r#"{"eventType":"a","destination":{"type":"webhook","url":"http://x/","more":1},"payload":{}}"#.to_owned(), "unknown field `more`"),
        ] {
            assert!(message(&body).contains(expected), "{body}\n{}", message(&body));
        }
    }

    #[test]
    fn deep_nesting_is_neither_a_crash_nor_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(
            r#"{{"eventType":"a","destination":{{"type":"webhook","url":"http://x/"}},"payload":{{"a":{deep}}}}}"#
        );
        assert_eq!(message(&body), "fine");
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Create::parse(&Bytes::from(body));
        }
    }
}
