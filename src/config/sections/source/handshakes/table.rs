//! A handshake as the configuration describes it.

use serde::Deserialize;

use crate::config::sections::source::handshakes::reply::{ReplyJson, ReplyText};
use crate::model::request::{Conditions, Template};

/// A handshake as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HandshakeTable {
    /// The method; `GET` stands for `HEAD`, too.
    pub method: HandshakeMethod,
    /// The conditions that tell the handshake from an event.
    #[serde(default)]
    pub when: Conditions,
    /// Whether it is answered only after verification. Default: true.
    #[serde(default = "signed")]
    pub signed: bool,
    /// The status of the answer, 200 to 299. Default: 200.
    #[serde(default = "status")]
    pub status: u16,
    /// The type of an answer without a body, such as `application/json`.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The answer's body as plain text.
    #[serde(default)]
    pub text: Option<ReplyText>,
    /// The answer's body as JSON: its strings are templates.
    #[serde(default)]
    pub json: Option<ReplyJson>,
    /// The value whose HMAC-SHA-256 is `{hmac}` (hexadecimal) and `{hmac_base64}` in the answer.
    #[serde(default)]
    pub hmac_of: Option<Template>,
}

/// The method of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum HandshakeMethod {
    /// `GET`, and `HEAD`.
    Get,
    /// `POST`.
    Post,
    /// `OPTIONS`.
    Options,
}

fn signed() -> bool {
    true
}

fn status() -> u16 {
    200
}

impl HandshakeTable {
    /// The templates of the answer, by the key that they stand below.
    pub(in crate::config) fn templates(&self) -> [(&'static str, Vec<&Template>); 3] {
        let text = self.text.iter().flat_map(ReplyText::templates);
        let json = self.json.iter().flat_map(ReplyJson::templates);
        [
            ("hmac_of", self.hmac_of.iter().collect()),
            ("text", text.collect()),
            ("json", json.collect()),
        ]
    }
}
