//! Where a signature and its time are found, and the content that is signed.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::sections::source::verify::common::{check_header_name, check_tolerance};
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::model::request::{Part, SignatureFormat, Template};

/// The common settings of schemes whose signature has a configured place.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// The headers that hold signatures, if `signature` is none.
    pub headers: Vec<String>,
    /// The place of the signature, if it is in no header of its own.
    pub signature: Option<Template>,
    /// The layout of the header, or of the text of `signature`.
    pub format: SignatureFormat,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The header that holds the timestamp.
    pub timestamp_header: Option<String>,
    /// The place of the timestamp, if it is in no header of its own.
    pub timestamp: Option<Template>,
    /// The format of the timestamp.
    pub timestamp_format: TimestampFormat,
    /// The content that is signed.
    pub signed: Template,
    /// The largest difference between the timestamp and relay's time.
    pub tolerance: Duration,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal, of either case.
    Hex,
    /// Base64, of either alphabet, padded or not.
    Base64,
}

/// The format of a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TimestampFormat {
    /// Whole seconds since the Unix epoch.
    #[default]
    Seconds,
    /// Whole milliseconds since the Unix epoch.
    Milliseconds,
    /// RFC 3339, such as `2026-01-31T12:00:00Z`.
    Rfc3339,
}

/// A header's name, or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrManyNames")]
pub struct HeaderNames(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a header's name, or a list of names")]
enum OneOrManyNames {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrManyNames> for HeaderNames {
    fn from(names: OneOrManyNames) -> Self {
        match names {
            OneOrManyNames::One(name) => name.into(),
            OneOrManyNames::Many(names) => Self(names),
        }
    }
}

impl<T: Into<String>> From<T> for HeaderNames {
    fn from(name: T) -> Self {
        Self(vec![name.into()])
    }
}

impl SignedRequest {
    /// Whether a timestamp is read.
    pub fn has_timestamp(&self) -> bool {
        self.timestamp_places() > 0
    }

    /// Whether the signature covers the body: every byte of it, or every field of a form.
    pub fn covers_body(&self) -> bool {
        let whole = [Part::Body, Part::BodySha256, Part::FormSorted];
        whole.iter().any(|part| self.signed.has(part))
    }

    fn timestamp_places(&self) -> usize {
        [
            self.format.has_timestamp(),
            self.timestamp_header.is_some(),
            self.timestamp.is_some(),
        ]
        .into_iter()
        .filter(|&is_place| is_place)
        .count()
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        self.check_place(key)?;
        let signed = format!("{key}.signed");
        if !self.signed.parts().iter().any(is_of_request) {
            return bad(
                &signed,
                quoted(self.signed.as_str()),
                "something such as \"{timestamp}.{body}\", with a part that each request has",
            );
        }
        self.check_timestamp(key)?;
        for (name, template) in [
            ("signature", &self.signature),
            ("timestamp", &self.timestamp),
        ] {
            if let Some(template) = template {
                let key = format!("{key}.{name}");
                check_template(&key, template, false, source)?;
                if template.parts().iter().all(is_constant) {
                    let expected = "a part of the request such as \"{json./signature}\"";
                    return bad(&key, quoted(template.as_str()), expected);
                }
            }
        }
        check_template(&signed, &self.signed, self.has_timestamp(), source)?;
        self.check_signature_is_not_signed(&signed)?;
        check_tolerance(key, self.tolerance)
    }

    fn check_place(&self, key: &str) -> Checked {
        let header = format!("{key}.header");
        if let Some(name) = &self.timestamp_header {
            check_header_name(&format!("{key}.timestamp_header"), name)?;
        }
        if self.signature.is_some() {
            return match self.headers.as_slice() {
                [] => Ok(()),
                _ => Err((
                    header,
                    "contradicts signature: expected one of them".to_owned(),
                )),
            };
        }
        if self.headers.is_empty() {
            return bad(&header, quoted(""), "the name of an HTTP header");
        }
        for name in &self.headers {
            check_header_name(&header, name)?;
        }
        Ok(())
    }

    /// Refuses a signed timestamp without a place or with two, and a timestamp that isn't signed.
    fn check_timestamp(&self, key: &str) -> Checked {
        let is_signed = self.signed.has(&Part::Timestamp);
        let (name, problem) = match self.timestamp_places() {
            0 if is_signed => (
                "signed",
                "holds {timestamp}, but neither format nor timestamp_header says where it is",
            ),
            1 if !is_signed && !self.covers_timestamp() => (
                "signed",
                "leaves out {timestamp}: expected it there, since a time that isn't signed proves \
                 nothing",
            ),
            0 | 1 => return Ok(()),
            _ if self.format.has_timestamp() => {
                let name = match self.timestamp_header {
                    Some(_) => "timestamp_header",
                    None => "timestamp",
                };
                (name, "contradicts format, which has {timestamp} too")
            }
            _ => (
                "timestamp",
                "contradicts timestamp_header: expected one of them",
            ),
        };
        Err((format!("{key}.{name}"), problem.to_owned()))
    }

    /// Refuses content that holds its own signature: nobody can make one.
    fn check_signature_is_not_signed(&self, key: &str) -> Checked {
        let is_signed = |part: &&Part| {
            let has_sum = part.is_of_body() && self.signed.has(&Part::BodyCrc32);
            !is_constant(part) && (has_sum || self.signs(part))
        };
        let place = if let Some(signature) = &self.signature {
            let mut parts = signature.parts().iter();
            parts.find(is_signed).map(Part::to_string)
        } else {
            // A signature in one header of a list may cover the other headers.
            let are_signed = self.headers.iter().all(|name| self.signs_header(name));
            are_signed.then(|| self.headers.join(", "))
        };
        let Some(place) = place else {
            return Ok(());
        };
        let expected = format!("content without the signature, which stands in {place}");
        bad(key, quoted(self.signed.as_str()), &expected)
    }

    /// Whether the place of the timestamp is signed as a part of something else: of the body, or
    /// under its own name.
    fn covers_timestamp(&self) -> bool {
        if let Some(name) = &self.timestamp_header {
            return self.signs_header(name);
        }
        let covers = |part: &Part| matches!(part, Part::Text(_)) || self.signs(part);
        let timestamp = self.timestamp.as_ref();
        timestamp.is_some_and(|timestamp| timestamp.parts().iter().all(covers))
    }

    /// Whether a part of the request is signed, by itself or within another part.
    fn signs(&self, part: &Part) -> bool {
        let has = |whole: &[Part]| whole.iter().any(|part| self.signed.has(part));
        match part {
            part if self.signed.has(part) => true,
            part if part.is_of_body() => self.covers_body(),
            Part::QueryField(_) | Part::Query => has(&[Part::Query, Part::Url]),
            _ => false,
        }
    }

    fn signs_header(&self, name: &str) -> bool {
        self.signed.parts().iter().any(|part| match part {
            Part::Header(header) => name.eq_ignore_ascii_case(header.as_str()),
            _ => false,
        })
    }
}

/// Whether a part is the same for each request that a sender may choose to send.
pub(super) fn is_constant(part: &Part) -> bool {
    matches!(part, Part::Text(_) | Part::Param(_) | Part::Method)
}

/// Whether a part makes the content depend on the event: a timestamp alone would be the signature
/// of every event of its second.
fn is_of_request(part: &Part) -> bool {
    !part.is_optional() && !is_constant(part) && *part != Part::Timestamp
}
