//! The layout of a text that holds signatures, and maybe their timestamp.

use serde::Deserialize;

/// Separators of fields that each begin with a text of their own.
const FIELD_SEPARATORS: &str = ",;&";

/// The layout of a text that holds signatures, such as `sha256={signature}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignatureFormat {
    text: String,
    layout: Layout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// A list of signatures, each between two texts.
    List {
        prefix: String,
        suffix: String,
        separators: Separators,
    },
    /// Fields in any order, recognised by the text that they begin with.
    Fields {
        signature: String,
        timestamp: String,
        separators: Separators,
    },
    /// A timestamp without a text of its own at one end, and a list of signatures.
    TimestampAtEnd {
        is_first: bool,
        signature: String,
        separator: char,
    },
    /// One timestamp and one signature, in this order.
    TimestampFirst([String; 3]),
    /// One signature and one timestamp, in this order.
    SignatureFirst([String; 3]),
}

/// The characters that end a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Separators {
    character: Option<char>,
    blanks: bool,
}

/// A field of a text that holds signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureField<'a> {
    /// A signature, still encoded.
    Signature(&'a str),
    /// The timestamp.
    Timestamp(&'a str),
}

use SignatureField::{Signature, Timestamp};

impl SignatureFormat {
    /// The signature and nothing else, or a list of signatures.
    pub fn whole() -> Self {
        Self::parse("{signature}").expect("a format that a test reads")
    }

    /// Parses a format. None if it has no signature, or none that could be found.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A header's value has no blanks around it.
        let text = text.trim();
        let wrong = || {
            format!(
                "{text:?}: expected fields such as \"sha256={{signature}}\" or \
                 \"t={{timestamp}},v1={{signature}}\""
            )
        };
        let (first, rest) = text.split_once('{').ok_or_else(wrong)?;
        let (name, rest) = rest.split_once('}').ok_or_else(wrong)?;
        let layout = match (name, rest.split_once('{')) {
            ("signature", None) => Layout::list(text, first, rest),
            (_, None) => return Err(wrong()),
            (_, Some((between, rest))) => {
                let (second, last) = rest.split_once('}').ok_or_else(wrong)?;
                let is_timestamp_first = match (name, second) {
                    ("timestamp", "signature") => true,
                    ("signature", "timestamp") => false,
                    _ => return Err(wrong()),
                };
                if between.is_empty() || last.contains(['{', '}']) {
                    return Err(wrong());
                }
                if between.starts_with(|c| FIELD_SEPARATORS.contains(c)) {
                    if !last.is_empty() {
                        return Err(wrong());
                    }
                    Layout::fields(first, between, is_timestamp_first).ok_or_else(|| {
                        format!(
                            "{text:?}: expected each field to begin with a text of its own, such \
                             as \"t={{timestamp}},v1={{signature}}\""
                        )
                    })?
                } else {
                    let texts = [first, between, last].map(str::to_owned);
                    if is_timestamp_first {
                        Layout::TimestampFirst(texts)
                    } else {
                        Layout::SignatureFirst(texts)
                    }
                }
            }
        };
        Ok(Self {
            text: text.to_owned(),
            layout,
        })
    }

    /// The format as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text holds a timestamp, too.
    pub fn has_timestamp(&self) -> bool {
        !matches!(self.layout, Layout::List { .. })
    }

    /// The fields of a text, in order. Texts that are no field are left out.
    pub fn fields<'v>(&self, value: &'v str) -> Vec<SignatureField<'v>> {
        match &self.layout {
            Layout::List {
                prefix,
                suffix,
                separators,
            } => separators
                .split(value)
                .filter_map(|field| field.strip_prefix(prefix.as_str()))
                .filter_map(|field| field.strip_suffix(suffix.as_str()))
                .map(Signature)
                .collect(),
            Layout::Fields {
                signature,
                timestamp,
                separators,
            } => separators
                .split(value)
                .filter_map(|field| {
                    let time = field.strip_prefix(timestamp.as_str()).map(Timestamp);
                    time.or_else(|| field.strip_prefix(signature.as_str()).map(Signature))
                })
                .collect(),
            Layout::TimestampAtEnd {
                is_first,
                signature,
                separator,
            } => {
                let mut fields: Vec<&str> = value.split(*separator).map(str::trim).collect();
                let timestamp = if *is_first {
                    fields.remove(0)
                } else {
                    fields.pop().unwrap_or_default()
                };
                let signatures = fields
                    .into_iter()
                    .filter_map(|field| field.strip_prefix(signature.as_str()))
                    .map(Signature);
                let timestamp = Some(Timestamp(timestamp)).filter(|_| value.contains(*separator));
                timestamp.into_iter().chain(signatures).collect()
            }
            // A signature holds no separator, so that the one next to it is meant.
            Layout::TimestampFirst([first, between, last]) => within(value, first, last)
                .and_then(|value| value.rsplit_once(between.as_str()))
                .map(|(timestamp, signature)| vec![Timestamp(timestamp), Signature(signature)])
                .unwrap_or_default(),
            Layout::SignatureFirst([first, between, last]) => within(value, first, last)
                .and_then(|value| value.split_once(between.as_str()))
                .map(|(signature, timestamp)| vec![Signature(signature), Timestamp(timestamp)])
                .unwrap_or_default(),
        }
    }

    /// The text with one signature and this timestamp, as a sender writes it.
    pub fn fill(&self, signature: &str, timestamp: &str) -> String {
        self.text
            .replace("{timestamp}", timestamp)
            .replace("{signature}", signature)
    }
}

impl TryFrom<String> for SignatureFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Layout {
    /// A list is split at commas and blanks, unless the format's own text holds them.
    fn list(format: &str, prefix: &str, suffix: &str) -> Self {
        Self::List {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            separators: Separators {
                character: (!format.contains(',')).then_some(','),
                blanks: !format.contains(char::is_whitespace),
            },
        }
    }

    /// None if a field could be taken for the other one, or be cut in two: no signature would be
    /// found.
    fn fields(first: &str, between: &str, is_timestamp_first: bool) -> Option<Self> {
        let separator = between.chars().next()?;
        let first = first.trim();
        let second = between[separator.len_utf8()..].trim();
        let (timestamp, signature) = if is_timestamp_first {
            (first, second)
        } else {
            (second, first)
        };
        if timestamp.is_empty() && !signature.contains(separator) {
            return Some(Self::TimestampAtEnd {
                is_first: is_timestamp_first,
                signature: signature.to_owned(),
                separator,
            });
        }
        // The timestamp's text is tried first.
        let is_ambiguous = signature.starts_with(timestamp)
            || timestamp.contains(separator)
            || signature.contains(separator);
        let is_blank = |text: &str| text.contains(char::is_whitespace);
        (!is_ambiguous).then(|| Self::Fields {
            signature: signature.to_owned(),
            timestamp: timestamp.to_owned(),
            separators: Separators {
                character: Some(separator),
                blanks: !is_blank(timestamp) && !is_blank(signature),
            },
        })
    }
}

impl Separators {
    fn split<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let Self { character, blanks } = *self;
        value
            .split(move |c: char| Some(c) == character || (blanks && c.is_whitespace()))
            .map(str::trim)
            .filter(|field| !field.is_empty())
    }
}

/// The text between a prefix and a suffix.
fn within<'v>(value: &'v str, prefix: &str, suffix: &str) -> Option<&'v str> {
    value.trim().strip_prefix(prefix)?.strip_suffix(suffix)
}
