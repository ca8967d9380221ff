//! The answers of handshakes: texts and JSON documents with parts of the request in them.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::request::{Part, Template};

/// The longest answer of a handshake as it is written, in bytes.
const MAX_BYTES: usize = 4096;
/// Levels of objects and arrays in an answer.
const MAX_DEPTH: usize = 8;

/// A text of fixed parts, of parts of the request, and of the HMAC.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReplyText(pub Vec<ReplyPart>);

/// A part of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyPart {
    /// A fixed text.
    Text(String),
    /// A template that is one part of the request.
    Value(Template),
    /// `{hmac}`: the HMAC in hexadecimal.
    Hmac,
    /// `{hmac_base64}`: the HMAC in base64.
    HmacBase64,
}

impl ReplyText {
    pub(in crate::config) fn templates(&self) -> Vec<&Template> {
        let templates = self.0.iter().filter_map(|part| match part {
            ReplyPart::Value(template) => Some(template),
            _ => None,
        });
        templates.collect()
    }

    /// Whether a fixed text has a control character, which no answer has.
    pub(in crate::config) fn has_control(&self) -> bool {
        let is_control = |part: &ReplyPart| match part {
            ReplyPart::Text(text) => text.chars().any(char::is_control),
            _ => false,
        };
        self.0.iter().any(is_control)
    }

    pub(in crate::config) fn has_hmac(&self) -> bool {
        let is_hmac = |part: &ReplyPart| matches!(part, ReplyPart::Hmac | ReplyPart::HmacBase64);
        self.0.iter().any(is_hmac)
    }

    /// Whether some part comes from the body.
    pub(crate) fn needs_body(&self) -> bool {
        let of_body = |part: &ReplyPart| match part {
            ReplyPart::Value(template) => template.needs_body(),
            _ => false,
        };
        self.0.iter().any(of_body)
    }
}

impl TryFrom<String> for ReplyText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!(
                "{} bytes: expected at most {MAX_BYTES}",
                text.len()
            ));
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(ReplyPart::Text(before.to_owned()));
            }
            if before.len() == rest.len() {
                break;
            }
            let Some((name, after)) = tail.split_once('}') else {
                return Err(format!("{text:?}: expected a }} after {{{tail}"));
            };
            parts.push(match name {
                "hmac" => ReplyPart::Hmac,
                "hmac_base64" => ReplyPart::HmacBase64,
                name => ReplyPart::Value(value(name)?),
            });
            rest = after;
        }
        Ok(Self(parts))
    }
}

/// A part of the request that an answer may hold. A handshake's time is looked at by its signature.
fn value(name: &str) -> Result<Template, String> {
    let template = Template::parse(&format!("{{{name}}}")).map_err(|error| error.to_string())?;
    if template.has(&Part::Timestamp) {
        return Err(
            "{timestamp}: expected a part of the request; an answer has no time".to_owned(),
        );
    }
    Ok(template)
}

/// A JSON document whose strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyJson {
    /// An object; its members in order.
    Object(Vec<(String, ReplyJson)>),
    /// An array.
    Array(Vec<ReplyJson>),
    /// A string.
    Text(ReplyText),
    /// A number or a boolean.
    Constant(serde_json::Value),
}

impl ReplyJson {
    fn any_text(&self, holds: fn(&ReplyText) -> bool) -> bool {
        match self {
            Self::Object(members) => members.iter().any(|(_, member)| member.any_text(holds)),
            Self::Array(elements) => elements.iter().any(|element| element.any_text(holds)),
            Self::Text(text) => holds(text),
            Self::Constant(_) => false,
        }
    }

    pub(in crate::config) fn has_control(&self) -> bool {
        self.any_text(ReplyText::has_control)
    }

    pub(in crate::config) fn has_hmac(&self) -> bool {
        self.any_text(ReplyText::has_hmac)
    }

    pub(in crate::config) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Object(members) => {
                let members = members.iter().flat_map(|(_, member)| member.templates());
                members.collect()
            }
            Self::Array(elements) => elements.iter().flat_map(Self::templates).collect(),
            Self::Text(text) => text.templates(),
            Self::Constant(_) => Vec::new(),
        }
    }

    /// Whether some part comes from the body.
    pub(crate) fn needs_body(&self) -> bool {
        self.any_text(ReplyText::needs_body)
    }

    fn depth(&self) -> usize {
        match self {
            Self::Object(members) => {
                1 + members
                    .iter()
                    .map(|(_, member)| member.depth())
                    .max()
                    .unwrap_or(0)
            }
            Self::Array(elements) => 1 + elements.iter().map(Self::depth).max().unwrap_or(0),
            Self::Text(_) | Self::Constant(_) => 0,
        }
    }
}

impl<'de> Deserialize<'de> for ReplyJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = ReplyJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, a list, a text, a number or a boolean")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReplyJson, E> {
                let text = ReplyText::try_from(text.to_owned()).map_err(E::custom)?;
                Ok(ReplyJson::Text(text))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ReplyJson, E> {
                Ok(ReplyJson::Constant(value.into()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ReplyJson, E> {
                Ok(ReplyJson::Constant(value.into()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<ReplyJson, E> {
                Ok(ReplyJson::Constant(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ReplyJson, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                bounded(ReplyJson::Array(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReplyJson, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                bounded(ReplyJson::Object(members))
            }
        }

        from.deserialize_any(Read)
    }
}

fn bounded<E: de::Error>(json: ReplyJson) -> Result<ReplyJson, E> {
    if json.depth() > MAX_DEPTH {
        return Err(E::custom(format!("expected at most {MAX_DEPTH} levels")));
    }
    Ok(json)
}
