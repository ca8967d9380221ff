//! Reads the body of a create request. Every error names the member and the expectation.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::api_error::ApiError;
use crate::http::raw_object::RawObject;
use crate::model::TargetUrl;

/// The longest event type, in characters: fixed by the contract.
const MAX_EVENT_TYPE: usize = 128;
/// Characters of an unknown member's name that an error repeats.
const MAX_ECHO: usize = 64;

/// Refuses a `Content-Type` other than JSON. None at all is JSON, and parameters are ignored, since
/// JSON is always UTF-8.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json && values.next().is_none() {
        Ok(())
    } else {
        Err(ApiError::media_type())
    }
}

/// A checked create request.
pub(super) struct CreateRequest<'a> {
    pub event_type: String,
    pub url: TargetUrl,
    pub payload: Cow<'a, RawValue>,
    pub metadata: Option<Cow<'a, RawValue>>,
}

impl<'a> CreateRequest<'a> {
    pub fn parse(bytes: &'a Bytes) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ApiError::malformed("the body is not UTF-8: expected a JSON object"))?;
        let names = ["eventType", "destination", "payload", "metadata"];
        let [event_type, destination, payload, metadata] = known_members(None, text, names)?;
        let event_type = parse_event_type(event_type)?;
        let url = parse_destination(destination)?;
        let payload = required("payload", payload)?;
        if !is_object(payload.get()) {
            return Err(expected("payload", "a JSON object"));
        }
        if let Some(metadata) = metadata {
            check_metadata(metadata)?;
        }
        Ok(Self {
            event_type,
            url,
            payload: Cow::Borrowed(payload),
            metadata: metadata.map(Cow::Borrowed),
        })
    }

    /// Copies the parts that the request borrows from its bytes.
    pub fn into_owned(self) -> CreateRequest<'static> {
        CreateRequest {
            event_type: self.event_type,
            url: self.url,
            payload: Cow::Owned(self.payload.into_owned()),
            metadata: self.metadata.map(|text| Cow::Owned(text.into_owned())),
        }
    }
}

fn parse_event_type(value: Option<&RawValue>) -> Result<String, ApiError> {
    let text = string("eventType", value)?;
    let text = text.trim();
    let is_long = text.chars().count() > MAX_EVENT_TYPE;
    if text.is_empty() || is_long || text.chars().any(char::is_control) {
        return Err(expected(
            "eventType",
            "1 to 128 characters without control characters",
        ));
    }
    Ok(text.to_owned())
}

fn parse_destination(value: Option<&RawValue>) -> Result<TargetUrl, ApiError> {
    let destination = required("destination", value)?.get();
    let [kind, url] = known_members(Some("destination"), destination, ["type", "url"])?;
    if string("destination.type", kind)? != "webhook" {
        return Err(expected("destination.type", "\"webhook\""));
    }
    string("destination.url", url)?
        .parse()
        .map_err(|error| ApiError::invalid("destination.url", format!("destination.url {error}")))
}

fn expected(member: &str, what: &str) -> ApiError {
    ApiError::invalid(member, format!("{member}: expected {what}"))
}

/// Checked on the text, because serde would take an array for a struct, and `null` for an option.
fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
}

/// The members of an object, each unparsed, so that an error can name it. `object` is the object's
/// own name; none for the body.
fn members<'a>(object: Option<&str>, text: &'a str) -> Result<RawObject<'a>, ApiError> {
    let error = |message: String| match object {
        Some(member) => ApiError::invalid(member, message),
        None => ApiError::malformed(message),
    };
    let name = object.unwrap_or("the body");
    if !is_object(text) {
        return Err(error(format!("{name}: expected a JSON object")));
    }
    // serde_json's messages name the place in the client's own text, and nothing of this program. A
    // member's value is well-formed once the body is, so that only the body has such an error.
    serde_json::from_str(text).map_err(|cause| error(format!("{name} is not JSON: {cause}")))
}

/// The values of an object's members in the order of `names`. Refuses other and repeated members.
fn known_members<'a, const N: usize>(
    object: Option<&str>,
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], ApiError> {
    let mut values = [None; N];
    for (name, value) in members(object, text)?.0 {
        let member = path(object, &name);
        let index = names.iter().position(|known| *known == name);
        let slot = index.map(|index| &mut values[index]).ok_or_else(|| {
            let message = format!("{member}: unknown member; expected {}", names.join(", "));
            ApiError::invalid(&member, message)
        })?;
        if slot.replace(value).is_some() {
            return Err(expected(&member, "once"));
        }
    }
    Ok(values)
}

/// The dotted path of an object's member, shortened.
fn path(object: Option<&str>, name: &str) -> String {
    let mut path = object.map_or_else(String::new, |object| format!("{object}."));
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
    let object = Some("metadata");
    let members = members(object, metadata.get())?;
    let mut seen = BTreeSet::new();
    for (name, value) in &members.0 {
        let member = path(object, name);
        string(&member, Some(value))?;
        if !seen.insert(name) {
            return Err(expected(&member, "once"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
