//! The language of templates: fixed text, and parts of a request in braces.

use std::fmt;

use ::http::HeaderName;
use serde::Deserialize;
use thiserror::Error;

use super::json::JsonPointer;

/// The longest template, in bytes. The longest that a provider needs (Adyen, Amazon SNS) has some
/// hundreds.
const MAX_TEMPLATE: usize = 4096;
/// The most parts of a template, its texts included.
const MAX_PARTS: usize = 64;

/// A text with parts of a request in it, such as `{timestamp}.{body}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A fixed text.
    Text(String),
    /// `{body}`: the bytes of the body.
    Body,
    /// `{method}`.
    Method,
    /// `{path}`: the path as it was sent.
    Path,
    /// `{query}`: the query as it was sent; empty if there is none.
    Query,
    /// `{url}`: the public URL, the path, and the query after a `?` if there is one.
    Url,
    /// `{query.NAME}`: the decoded field of the query.
    QueryField(String),
    /// `{form.NAME}`: the decoded field of the form.
    FormField(String),
    /// `{form_sorted}`: the distinct fields of the form in order, each as its name and value.
    FormSorted,
    /// `{header.NAME}`, or `{NAME}` for a name that is no part.
    Header(HeaderName),
    /// `{json./pointer}`: the text of a scalar.
    Json(JsonPointer),
    /// `{json./pointer?}`: the same, or nothing if it is missing.
    OptionalJson(JsonPointer),
    /// `{?json./pointer|text}`: the text, unless the value is missing.
    Section(JsonPointer, Vec<Part>),
    /// `{timestamp}`: the signature's time as it was sent.
    Timestamp,
    /// `{body_sha256}`: the SHA-256 of the body in hexadecimal.
    BodySha256,
    /// `{body_crc32}`: the CRC-32 of the body in decimal.
    BodyCrc32,
    /// `{param.NAME}`: a value of the source's `params`.
    Param(String),
}

/// A template that can't be read, and the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{template:?}: {part}: expected {expected}")]
pub struct InvalidTemplate {
    template: String,
    part: String,
    expected: String,
}

/// The parts by name, for errors.
const PARTS: &str = "one of {body}, {method}, {path}, {query}, {url}, {query.NAME}, {form.NAME}, \
                     {form_sorted}, {header.NAME}, {json./pointer}, {json./pointer?}, \
                     {?json./pointer|text}, {timestamp}, {body_sha256}, {body_crc32}, {param.NAME}";

/// The first words of the parts.
const NAMES: [&str; 14] = [
    "body",
    "body_crc32",
    "body_sha256",
    "form",
    "form_sorted",
    "header",
    "json",
    "method",
    "param",
    "path",
    "query",
    "signature",
    "timestamp",
    "url",
];

/// The problem of one part: the part and the expectation.
type Problem = (String, String);

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |(part, expected): Problem| InvalidTemplate {
            template: text.to_owned(),
            part,
            expected,
        };
        if text.len() > MAX_TEMPLATE {
            let shown = format!("{} bytes", text.len());
            return Err(invalid((shown, format!("at most {MAX_TEMPLATE}"))));
        }
        let parts = Parser { parts: 0 }.parse(text, true).map_err(invalid)?;
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The body and nothing else.
    pub fn body() -> Self {
        Self::parse("{body}").expect("the name of a part")
    }

    /// The template as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts in order. Those within a section stand in the section.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All parts, those within sections included.
    pub fn all_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flat_map(|part| {
            let inner = match part {
                Part::Section(_, parts) => parts.as_slice(),
                _ => &[],
            };
            std::iter::once(part).chain(inner)
        })
    }

    /// Whether a part is among the parts that the result always has.
    pub fn has(&self, part: &Part) -> bool {
        self.parts.contains(part)
    }

    /// Whether some part comes from the body.
    pub fn needs_body(&self) -> bool {
        self.all_parts().any(Part::is_of_body)
    }
}

impl TryFrom<String> for Template {
    type Error = InvalidTemplate;

    fn try_from(text: String) -> Result<Self, InvalidTemplate> {
        Self::parse(&text)
    }
}

impl Part {
    /// Whether the part comes from the body.
    pub fn is_of_body(&self) -> bool {
        matches!(
            self,
            Self::Body
                | Self::FormField(_)
                | Self::FormSorted
                | Self::Json(_)
                | Self::OptionalJson(_)
                | Self::Section(..)
                | Self::BodySha256
                | Self::BodyCrc32
        )
    }

    /// Whether the part may be left out.
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::OptionalJson(_) | Self::Section(..))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Body => f.write_str("{body}"),
            Self::Method => f.write_str("{method}"),
            Self::Path => f.write_str("{path}"),
            Self::Query => f.write_str("{query}"),
            Self::Url => f.write_str("{url}"),
            Self::QueryField(name) => write!(f, "{{query.{name}}}"),
            Self::FormField(name) => write!(f, "{{form.{name}}}"),
            Self::FormSorted => f.write_str("{form_sorted}"),
            Self::Header(name) => write!(f, "{{header.{name}}}"),
            Self::Json(pointer) => write!(f, "{{json.{}}}", pointer.as_str()),
            Self::OptionalJson(pointer) => write!(f, "{{json.{}?}}", pointer.as_str()),
            Self::Section(pointer, _) => write!(f, "{{?json.{}|…}}", pointer.as_str()),
            Self::Timestamp => f.write_str("{timestamp}"),
            Self::BodySha256 => f.write_str("{body_sha256}"),
            Self::BodyCrc32 => f.write_str("{body_crc32}"),
            Self::Param(name) => write!(f, "{{param.{name}}}"),
        }
    }
}

/// Parses a template, and bounds the number of its parts.
struct Parser {
    parts: usize,
}

impl Parser {
    /// Parses texts and parts up to the end of `text`.
    fn parse(&mut self, text: &str, may_have_sections: bool) -> Result<Vec<Part>, Problem> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            self.parts += 1;
            if self.parts > MAX_PARTS {
                let problem = format!("part {}", self.parts);
                return Err((problem, format!("at most {MAX_PARTS} parts")));
            }
            let part;
            (part, rest) = if let Some(tail) = rest.strip_prefix('{') {
                self.braced(tail, may_have_sections)?
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                (Part::Text(rest[..end].to_owned()), &rest[end..])
            };
            parts.push(part);
        }
        Ok(parts)
    }

    /// Parses a part, given the text after its opening brace. Returns the text after the part, too.
    fn braced<'t>(
        &mut self,
        tail: &'t str,
        may_be_section: bool,
    ) -> Result<(Part, &'t str), Problem> {
        let unclosed = || (format!("{{{tail}"), "a } that closes it".to_owned());
        let Some(section) = tail.strip_prefix('?') else {
            let (name, rest) = tail.split_once('}').ok_or_else(unclosed)?;
            return Ok((named(name)?, rest));
        };
        if !may_be_section {
            let problem = "no section within a section".to_owned();
            return Err((format!("{{{tail}"), problem));
        }
        let end = closing_brace(section).ok_or_else(unclosed)?;
        let (inside, rest) = (&section[..end], &section[end + 1..]);
        let wrong = || {
            let expected = "a section such as {?json./a|text}".to_owned();
            (format!("{{?{inside}}}"), expected)
        };
        let (value, text) = inside.split_once('|').ok_or_else(wrong)?;
        let pointer = value.strip_prefix("json.").and_then(JsonPointer::parse);
        let parts = self.parse(text, false)?;
        Ok((Part::Section(pointer.ok_or_else(wrong)?, parts), rest))
    }
}

/// The place of the brace that closes a section, given the text after the one that opens it.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The part of this name.
fn named(name: &str) -> Result<Part, Problem> {
    let wrong = |expected: &str| (format!("{{{name}}}"), expected.to_owned());
    let header = |text: &str| {
        HeaderName::try_from(text)
            .map(Part::Header)
            .map_err(|_| wrong(PARTS))
    };
    match name {
        "body" => return Ok(Part::Body),
        "method" => return Ok(Part::Method),
        "path" => return Ok(Part::Path),
        "query" => return Ok(Part::Query),
        "url" => return Ok(Part::Url),
        "form_sorted" => return Ok(Part::FormSorted),
        "timestamp" => return Ok(Part::Timestamp),
        "body_sha256" => return Ok(Part::BodySha256),
        "body_crc32" => return Ok(Part::BodyCrc32),
        _ => {}
    }
    match name.split_once('.').unwrap_or((name, "")) {
        ("json", argument) => json(argument).ok_or_else(|| wrong("a pointer such as {json./id}")),
        ("query", "") => Err(wrong("a field such as {query.NAME}")),
        ("query", field) => Ok(Part::QueryField(field.to_owned())),
        ("form", "") => Err(wrong("a field such as {form.NAME}")),
        ("form", field) => Ok(Part::FormField(field.to_owned())),
        ("param", "") => Err(wrong("a parameter such as {param.NAME}")),
        ("param", parameter) => Ok(Part::Param(parameter.to_owned())),
        ("header", "") => Err(wrong("a header such as {header.NAME}")),
        ("header", argument) => header(argument),
        ("signature", _) => Err(wrong("a part of the request: {signature} is for format")),
        // Nobody means a header that is called {Body}: each request would lack it.
        (kind, _) if NAMES.iter().any(|part| part.eq_ignore_ascii_case(kind)) => Err(wrong(PARTS)),
        // The form before there were other parts: any other name is a header's.
        _ => header(name),
    }
}

fn json(argument: &str) -> Option<Part> {
    match argument.strip_suffix('?') {
        Some(pointer) => JsonPointer::parse(pointer).map(Part::OptionalJson),
        None => JsonPointer::parse(argument).map(Part::Json),
    }
}
