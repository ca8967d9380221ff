//! The answer to a handshake. Values that strangers choose are echoed only if they can't be taken
//! for markup, and signed only if they can't be taken for an event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::de::IgnoredAny;

use crate::config::{
    Algorithm, HandshakeMethod, HandshakeName, HandshakeTable, ReplyJson, ReplyPart, ReplyText,
};
use crate::http::api_error::ApiError;
use crate::http::response::{Response, with_type};
use crate::model::request::{RequestView, Template};

/// A handshake's answer.
pub(in crate::http) type HandshakeAnswer = Result<Response, ApiError>;

/// The longest value that is echoed or signed for a stranger, in characters.
const MAX_VALUE: usize = 256;
/// The longest text of an answer, in bytes.
const MAX_TEXT: usize = 4096;

/// The characters of a value that is echoed for a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// Letters, digits and `._~+/=-`.
    Strict,
    /// Blanks and colons, too: Microsoft Graph's tokens have them. As plain text they are harmless,
    /// and nothing that has them is ever signed.
    Graph,
}

impl Charset {
    pub fn of(name: HandshakeName, method: HandshakeMethod) -> Self {
        match (name, method) {
            (HandshakeName::Echo, HandshakeMethod::Post) => Self::Graph,
            _ => Self::Strict,
        }
    }

    fn holds(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || b"._~+/=-".contains(&byte)
            || (self == Self::Graph && b" :".contains(&byte))
    }
}

/// The answer of a handshake.
pub(super) struct Reply {
    status: StatusCode,
    body: Body,
    /// The type of an answer without a body.
    content_type: Option<HeaderValue>,
    hmac_of: Option<Template>,
    /// The rule for the values that it echoes; none if only the provider can ask.
    charset: Option<Charset>,
}

enum Body {
    Text(ReplyText),
    Json(ReplyJson),
}

/// The values of one answer.
struct Values<'r, 'a> {
    request: &'r RequestView<'a>,
    charset: Option<Charset>,
    hmac: Option<Vec<u8>>,
}

impl Reply {
    /// The answer that a checked table describes.
    pub fn new(table: &HandshakeTable, charset: Charset) -> Self {
        Self {
            status: StatusCode::from_u16(table.status).expect("a checked status is 200 to 299"),
            body: match &table.json {
                Some(json) => Body::Json(json.clone()),
                None => Body::Text(table.text.clone().unwrap_or_default()),
            },
            content_type: table
                .content_type
                .as_ref()
                .map(|text| HeaderValue::try_from(text).expect("a checked media type")),
            hmac_of: table.hmac_of.clone(),
            charset: (!table.signed).then_some(charset),
        }
    }

    pub fn needs_body(&self) -> bool {
        let body_needs_body = match &self.body {
            Body::Text(text) => text.needs_body(),
            Body::Json(json) => json.needs_body(),
        };
        body_needs_body || self.hmac_of.as_ref().is_some_and(Template::needs_body)
    }

    pub fn answer(&self, request: &RequestView<'_>, key: Option<&[u8]>) -> HandshakeAnswer {
        let hmac = match &self.hmac_of {
            Some(template) => Some(sign(template, request, key)?),
            None => None,
        };
        let values = Values {
            request,
            charset: self.charset,
            hmac,
        };
        let mut response = match &self.body {
            Body::Text(text) => plain_text(self.status, values.text(text)?),
            Body::Json(json) => {
                let document = values.json(json)?;
                with_type(self.status, "application/json", document.to_string())
            }
        };
        if let Some(content_type) = &self.content_type {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        Ok(uncached(response))
    }
}

/// The HMAC of a value. The value is no JSON document, which could be the body of an event, and has
/// none of the characters that separate the parts of other signed contents.
fn sign(
    template: &Template,
    request: &RequestView<'_>,
    key: Option<&[u8]>,
) -> Result<Vec<u8>, ApiError> {
    let value = value(template, request)?;
    check_value(&value, Charset::Strict)?;
    if serde_json::from_str::<IgnoredAny>(&value).is_ok() {
        return Err(unusable());
    }
    let key = key.ok_or_else(|| ApiError::forbidden("no secret signs this handshake's answer"))?;
    Ok(Algorithm::Sha256.hmac(key, &[value]))
}

/// Checks a value that is echoed for a stranger.
pub(super) fn check_echo(value: &str) -> Result<(), ApiError> {
    check_value(value, Charset::Strict)?;
    // Of the documents within the character set a number is harmless, and Meta's challenge is one.
    if matches!(value, "true" | "false" | "null") {
        return Err(unusable());
    }
    Ok(())
}

fn check_value(value: &str, charset: Charset) -> Result<(), ApiError> {
    let is_usable =
        (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(|byte| charset.holds(byte));
    if is_usable { Ok(()) } else { Err(unusable()) }
}

fn unusable() -> ApiError {
    ApiError::malformed(format!(
        "the handshake's value can't be answered: expected 1 to {MAX_VALUE} characters out of \
         A-Z a-z 0-9 . _ ~ + / = - that are no JSON document"
    ))
}

fn value(template: &Template, request: &RequestView<'_>) -> Result<String, ApiError> {
    template.text(request).ok_or_else(|| {
        let part = template.as_str();
        ApiError::malformed(format!(
            "the handshake lacks {part}: expected it once, as text"
        ))
    })
}

impl Values<'_, '_> {
    fn text(&self, text: &ReplyText) -> Result<String, ApiError> {
        let mut result = String::new();
        for part in &text.0 {
            match part {
                ReplyPart::Text(fixed) => result.push_str(fixed),
                ReplyPart::Hmac => result.push_str(&hex::encode(self.hmac())),
                ReplyPart::HmacBase64 => result.push_str(&STANDARD.encode(self.hmac())),
                ReplyPart::Value(template) => {
                    let value = value(template, self.request)?;
                    match self.charset {
                        Some(Charset::Strict) => check_echo(&value)?,
                        Some(charset) => check_value(&value, charset)?,
                        None => {}
                    }
                    result.push_str(&value);
                }
            }
        }
        if result.len() > MAX_TEXT || result.chars().any(char::is_control) {
            return Err(ApiError::malformed(format!(
                "the handshake's answer is too long or has control characters: expected at most \
                 {MAX_TEXT} bytes"
            )));
        }
        Ok(result)
    }

    fn json(&self, json: &ReplyJson) -> Result<serde_json::Value, ApiError> {
        Ok(match json {
            ReplyJson::Text(text) => self.text(text)?.into(),
            ReplyJson::Constant(value) => value.clone(),
            ReplyJson::Array(elements) => {
                let elements: Result<Vec<_>, _> =
                    elements.iter().map(|element| self.json(element)).collect();
                elements?.into()
            }
            ReplyJson::Object(members) => {
                let mut object = serde_json::Map::new();
                for (name, member) in members {
                    object.insert(name.clone(), self.json(member)?);
                }
                object.into()
            }
        })
    }

    fn hmac(&self) -> &[u8] {
        let hmac = self.hmac.as_deref();
        hmac.expect("a checked answer with an HMAC says what it is of")
    }
}

/// A plain text that a browser shows as such.
pub(super) fn plain_text(status: StatusCode, text: String) -> Response {
    if text.is_empty() {
        let mut response = Response::default();
        *response.status_mut() = status;
        return response;
    }
    with_type(status, "text/plain; charset=utf-8", text)
}

/// The headers of every answer to a handshake.
pub(super) fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
