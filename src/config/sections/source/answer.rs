//! `[sources.NAME] answer`: the answer to an event that was accepted, or is a duplicate.

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};

/// The longest body of an answer. Providers that look at it want a word or a line.
const MAX_BODY_BYTES: usize = 4096;
/// The type of a body for which none is given.
const CONTENT_TYPE: &str = "text/plain";

/// The answer to an accepted event or a duplicate, in place of 202 and the contract's JSON. The
/// event's id is in the header `Relay-Event-Id`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The status, 200 to 299. Default: 200.
    pub status: u16,
    /// The body, a constant. Default: empty.
    pub body: String,
    /// The body's type, `text/plain` unless another one is given. One that is given is sent without
    /// a body, too.
    pub content_type: Option<String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            body: String::new(),
            content_type: None,
        }
    }
}

impl Answer {
    /// The type to send, if there is one to be told.
    pub fn content_type(&self) -> Option<&str> {
        let of_body = (!self.body.is_empty()).then_some(CONTENT_TYPE);
        self.content_type.as_deref().or(of_body)
    }

    pub(super) fn check(&self, key: &str) -> Checked {
        if !(200..=299).contains(&self.status) {
            let expected = "200 to 299: a refusal is relay's own to decide";
            return bad(&format!("{key}.status"), self.status, expected);
        }
        let body = format!("{key}.body");
        if !self.body.is_empty() {
            check_no_body(&body, self.status)?;
        }
        if self.body.len() > MAX_BODY_BYTES {
            let expected = format!("at most {MAX_BODY_BYTES} bytes");
            return bad(&body, format_args!("{} bytes", self.body.len()), &expected);
        }
        check_content_type(&format!("{key}.content_type"), self.content_type.as_deref())
    }
}

/// Refuses a body beside a status that has none (RFC 9110, 15.3.5 and 15.3.6).
pub(super) fn check_no_body(key: &str, status: u16) -> Checked {
    if matches!(status, 204 | 205) {
        let problem = format!("contradicts status = {status}, which has no body");
        return Err((key.to_owned(), problem));
    }
    Ok(())
}

/// Refuses a text that is no media type.
pub(super) fn check_content_type(key: &str, text: Option<&str>) -> Checked {
    let Some(text) = text else {
        return Ok(());
    };
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_type = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if is_type && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Ok(());
    }
    bad(key, quoted(text), "a media type such as \"text/plain\"")
}
