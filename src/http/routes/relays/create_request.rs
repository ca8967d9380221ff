//! Reading a create request: every error names the member and what was expected of it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::api_error::ApiError;
use crate::http::raw_object::RawObject;
use crate::model::TargetUrl;

/// What the contract freezes, in characters.
const MAX_EVENT_TYPE: usize = 128;
/// Characters of a made-up member's name that an error repeats.
const MAX_ECHO: usize = 64;

/// A `Content-Type` that is there must be JSON; its parameters don't matter, since JSON is UTF-8.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
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
        Err(ApiError::media_type())
    }
}

/// A create request, checked.
pub(super) struct Create<'a> {
    pub event_type: String,
    pub url: TargetUrl,
    pub payload: Cow<'a, RawValue>,
    pub metadata: Option<Cow<'a, RawValue>>,
}

impl<'a> Create<'a> {
    pub fn parse(bytes: &'a Bytes) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ApiError::malformed("the body is not UTF-8: expected a JSON object"))?;
        let names = ["eventType", "destination", "payload", "metadata"];
        let [event_type, destination, payload, metadata] = known_members(None, text, names)?;

        let event_type = string("eventType", event_type)?;
        let event_type = event_type.trim();
        let is_long = event_type.chars().count() > MAX_EVENT_TYPE;
        if event_type.is_empty() || is_long || event_type.chars().any(char::is_control) {
            return Err(expected(
                "eventType",
                "1 to 128 characters without control characters",
            ));
        }

        let destination = required("destination", destination)?.get();
        let [kind, url] = known_members(Some("destination"), destination, ["type", "url"])?;
        if string("destination.type", kind)? != "webhook" {
            return Err(expected("destination.type", "\"webhook\""));
        }
        let url = string("destination.url", url)?.parse().map_err(|error| {
            ApiError::invalid("destination.url", format!("destination.url {error}"))
        })?;

        let payload = required("payload", payload)?;
        if !is_object(payload.get()) {
            return Err(expected("payload", "a JSON object"));
        }
        if let Some(metadata) = metadata {
            check_metadata(metadata)?;
        }
        Ok(Self {
            event_type: event_type.to_owned(),
            url,
            payload: Cow::Borrowed(payload),
            metadata: metadata.map(Cow::Borrowed),
        })
    }

    /// The same without the request's bytes.
    pub fn into_owned(self) -> Create<'static> {
        Create {
            event_type: self.event_type,
            url: self.url,
            payload: Cow::Owned(self.payload.into_owned()),
            metadata: self.metadata.map(|text| Cow::Owned(text.into_owned())),
        }
    }
}

fn expected(member: &str, what: &str) -> ApiError {
    ApiError::invalid(member, format!("{member}: expected {what}"))
}

/// serde would take an array for a struct, and `null` for much; JSON wouldn't.
fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
}

/// The members of an object, each by itself, so that an error names it. `of` is what the object is
/// called; none for the body.
fn members<'a>(of: Option<&str>, text: &'a str) -> Result<RawObject<'a>, ApiError> {
    let problem = |message: String| match of {
        Some(member) => ApiError::invalid(member, message),
        None => ApiError::malformed(message),
    };
    let name = of.unwrap_or("the body");
    if !is_object(text) {
        return Err(problem(format!("{name}: expected a JSON object")));
    }
    // serde_json's messages name the place in what the client sent, and nothing of ours. What stands
    // in a member is well-formed once the body is, so that only the body has such an error.
    serde_json::from_str(text).map_err(|error| problem(format!("{name} is not JSON: {error}")))
}

/// The values of an object's members in the order of `names`; no others are allowed, and none twice.
fn known_members<'a, const N: usize>(
    of: Option<&str>,
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], ApiError> {
    let mut values = [None; N];
    for (name, value) in members(of, text)?.0 {
        let member = path(of, &name);
        let at = names.iter().position(|known| *known == name);
        let slot = at.map(|at| &mut values[at]).ok_or_else(|| {
            let message = format!("{member}: unknown member; expected {}", names.join(", "));
            ApiError::invalid(&member, message)
        })?;
        if slot.replace(value).is_some() {
            return Err(expected(&member, "once"));
        }
    }
    Ok(values)
}

/// What a member of an object is called.
fn path(of: Option<&str>, name: &str) -> String {
    let mut path = of.map_or_else(String::new, |of| format!("{of}."));
    path.extend(name.chars().take(MAX_ECHO));
    if name.chars().count() > MAX_ECHO {
        path.push('…');
    }
    path
}

fn required<'a>(member: &str, value: Option<&'a RawValue>) -> Result<&'a RawValue, ApiError> {
    value.ok_or_else(|| ApiError::invalid(member, format!("{member}: missing, and required")))
}

fn string<'a>(member: &str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, ApiError> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'_>>(required(member, value)?.get())
        .map(|text| text.0)
        .map_err(|_| expected(member, "a string"))
}

fn check_metadata(metadata: &RawValue) -> Result<(), ApiError> {
    let of = Some("metadata");
    let members = members(of, metadata.get())?;
    let mut seen = BTreeSet::new();
    for (name, value) in &members.0 {
        let member = path(of, name);
        string(&member, Some(value))?;
        if !seen.insert(name) {
            return Err(expected(&member, "once"));
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
            (format!(r#"{{"eventType":"a","eventType":"b",{destination},"payload":{{}}}}"#), "eventType: expected once"),
            (format!(r#"{{"eventType":"a",{destination},"payload":[]}}"#), "payload: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination}}}"#), "payload: missing"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"extra":1}}"#), "extra: unknown member; expected eventType, destination, payload, metadata"),
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
            (r#"{"eventType":"a","destination":{"type":"webhook","url":"http://x/","more":1},"payload":{}}"#.to_owned(), "destination.more: unknown member; expected type, url"),
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
