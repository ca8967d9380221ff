//! The texts with names in braces: the layout of a signature header, and the content that is
//! signed.

use serde::Deserialize;

use crate::config::rules::is_header_name;

/// The layout of a signature header: fields, each of a fixed text and a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignatureFormat {
    /// The separator of the fields; white space separates them, too.
    pub separator: Option<char>,
    /// The text before a signature.
    pub signature: String,
    /// The text before the timestamp; none if the header has no timestamp.
    pub timestamp: Option<String>,
}

impl SignatureFormat {
    /// The header holds the signature and nothing else.
    pub(super) fn whole() -> Self {
        Self {
            separator: None,
            signature: String::new(),
            timestamp: None,
        }
    }

    /// Whether a field could be taken for the other one, or be cut in two: no signature would be
    /// found.
    fn is_ambiguous(&self) -> bool {
        let Some(timestamp) = &self.timestamp else {
            return false;
        };
        let signature = &self.signature;
        // The timestamp's text is tried first.
        signature.starts_with(timestamp.as_str())
            || self.separator.is_some_and(|separator| {
                timestamp.contains(separator) || signature.contains(separator)
            })
    }
}

impl TryFrom<String> for SignatureFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: expected fields such as \"sha256={{signature}}\" or \
                 \"t={{timestamp}},v1={{signature}}\""
            )
        };
        let mut format = Self::whole();
        let mut signature = None;
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, tail) = rest.split_once('{').ok_or_else(wrong)?;
            let (name, tail) = tail.split_once('}').ok_or_else(wrong)?;
            let field = match name {
                "signature" => &mut signature,
                "timestamp" => &mut format.timestamp,
                _ => return Err(wrong()),
            };
            if before.contains(char::is_whitespace) || field.replace(before.to_owned()).is_some() {
                return Err(wrong());
            }
            rest = match tail.chars().next() {
                None => "",
                Some(separator) if ",;&".contains(separator) && tail.len() > 1 => {
                    format.separator = Some(separator);
                    &tail[1..]
                }
                Some(_) => return Err(wrong()),
            };
        }
        format.signature = signature.ok_or_else(wrong)?;
        if format.is_ambiguous() {
            return Err(format!(
                "{text:?}: expected each field to begin with a text of its own, such as \
                 \"t={{timestamp}},v1={{signature}}\""
            ));
        }
        Ok(format)
    }
}

/// The content that is signed: its parts in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignedContent(pub Vec<SignedPart>);

/// A part of the content that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// A fixed text.
    Text(String),
    /// The timestamp as it was sent.
    Timestamp,
    /// A header's value as it was sent.
    Header(String),
    /// The bytes of the body.
    Body,
}

impl SignedContent {
    /// The body and nothing else.
    pub(super) fn body() -> Self {
        Self(vec![SignedPart::Body])
    }
}

impl TryFrom<String> for SignedContent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: expected something such as \"{{timestamp}}.{{body}}\", \
                 with the body once"
            )
        };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(SignedPart::Text(before.to_owned()));
            }
            if before.len() == rest.len() {
                break;
            }
            let (name, tail) = tail.split_once('}').ok_or_else(wrong)?;
            parts.push(match name {
                "body" => SignedPart::Body,
                "timestamp" => SignedPart::Timestamp,
                header if is_header_name(header) => SignedPart::Header(header.to_owned()),
                _ => return Err(wrong()),
            });
            rest = tail;
        }
        let bodies = parts.iter().filter(|part| **part == SignedPart::Body);
        if bodies.count() == 1 {
            Ok(Self(parts))
        } else {
            Err(wrong())
        }
    }
}
