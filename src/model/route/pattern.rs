//! The patterns of a route's lines, and how they match values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::value::Value;
use crate::model::number::{Number, finite};
use crate::model::one_or_many::one_or_many;

/// A value that a line expects.
#[derive(Clone, Debug, PartialEq)]
pub enum RoutePattern {
    /// This text, letter by letter.
    Text(String),
    /// This number, however it is written.
    Number(Number),
    /// This truth value.
    Bool(bool),
    /// A value that all of these hold for.
    Operators(Box<RouteOperators>),
}

/// Conditions on one value. All but `exists` want a value that is there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RouteOperators {
    /// A number of at least this.
    pub min: Option<Number>,
    /// A number of at most this.
    pub max: Option<Number>,
    /// A text that begins so.
    pub prefix: Option<String>,
    /// A text that ends so.
    pub suffix: Option<String>,
    /// A text that holds this.
    pub contains: Option<String>,
    /// This text, in any case of ASCII letters.
    pub equals_ignore_case: Option<String>,
    /// Whether the value is there, `null` included.
    pub exists: Option<bool>,
    /// A value that none of these match.
    pub not: Option<OneOrMany>,
}

/// A pattern, or a list of patterns.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany(pub Vec<RoutePattern>);

impl RoutePattern {
    /// Whether a value matches; none is a missing one.
    pub(super) fn matches(&self, value: Option<&Value<'_>>) -> bool {
        match (self, value) {
            (Self::Operators(operators), value) => operators.match_value(value),
            (Self::Text(expected), Some(Value::Text(found))) => found == expected,
            (Self::Number(expected), Some(Value::Number(found))) => {
                expected.compare(found) == Some(Ordering::Equal)
            }
            (Self::Bool(expected), Some(Value::Bool(found))) => found == expected,
            _ => false,
        }
    }

    /// Whether a missing value matches.
    pub fn matches_absence(&self) -> bool {
        self.matches(None)
    }

    /// Whether a value of this text matches: a text or, if it is written so, a number or a truth
    /// value.
    pub fn matches_scalar(&self, text: &str) -> bool {
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_other = is_number || matches!(text, "true" | "false");
        self.matches(Some(&Value::Text(Cow::Borrowed(text))))
            || (is_other && self.matches(Some(&Value::of_json(text))))
    }

    /// Whether only a text, a number or a truth value can match.
    pub fn wants_scalar(&self) -> bool {
        match self {
            Self::Operators(operators) => operators.wants_text() || operators.wants_number(),
            _ => true,
        }
    }
}

impl RouteOperators {
    fn match_value(&self, value: Option<&Value<'_>>) -> bool {
        let Some(value) = value else {
            return self.exists == Some(false) && self.has_only_exists();
        };
        let number = |bound: &Option<Number>, holds: fn(Ordering) -> bool| {
            let Some(bound) = bound else { return true };
            matches!(value, Value::Number(text) if bound.compare(text).is_some_and(holds))
        };
        let text = |expected: &Option<String>, holds: fn(&str, &str) -> bool| {
            let Some(expected) = expected else {
                return true;
            };
            matches!(value, Value::Text(text) if holds(text, expected))
        };
        let not = self.not.iter().flat_map(|not| &not.0);
        self.exists != Some(false)
            && number(&self.min, Ordering::is_ge)
            && number(&self.max, Ordering::is_le)
            && text(&self.prefix, |text, prefix| text.starts_with(prefix))
            && text(&self.suffix, |text, suffix| text.ends_with(suffix))
            && text(&self.contains, |text, part| text.contains(part))
            && text(&self.equals_ignore_case, str::eq_ignore_ascii_case)
            && !not.into_iter().any(|pattern| pattern.matches(Some(value)))
    }

    /// Whether `exists` is the only operator.
    pub fn has_only_exists(&self) -> bool {
        *self
            == Self {
                exists: self.exists,
                ..Self::default()
            }
    }

    /// Whether an operator wants a text.
    pub fn wants_text(&self) -> bool {
        let texts = [
            &self.prefix,
            &self.suffix,
            &self.contains,
            &self.equals_ignore_case,
        ];
        texts.into_iter().any(Option::is_some)
    }

    /// Whether an operator wants a number.
    pub fn wants_number(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Operators(operators) => operators.fmt(f),
        }
    }
}

impl fmt::Display for RouteOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &Option<String>| text.as_ref().map(|text| format!("{text:?}"));
        let number = |number: &Option<Number>| number.as_ref().map(Number::to_string);
        let not = self.not.as_ref().map(|not| listed(&not.0));
        let operators = [
            ("min", number(&self.min)),
            ("max", number(&self.max)),
            ("prefix", quoted(&self.prefix)),
            ("suffix", quoted(&self.suffix)),
            ("contains", quoted(&self.contains)),
            ("equals_ignore_case", quoted(&self.equals_ignore_case)),
            ("exists", self.exists.map(|exists| exists.to_string())),
            ("not", not.map(|not| format!("[{not}]"))),
        ];
        let shown = operators
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} = {}", value?)));
        write!(f, "{{ {} }}", shown.collect::<Vec<_>>().join(", "))
    }
}

/// Patterns with commas between them.
pub(super) fn listed(patterns: &[RoutePattern]) -> String {
    let shown: Vec<_> = patterns.iter().map(RoutePattern::to_string).collect();
    shown.join(", ")
}

impl<'de> Deserialize<'de> for RoutePattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ReadPattern)
    }
}

/// Reads a pattern: a text, a number or a truth value stands for itself, a table for operators.
struct ReadPattern;

impl<'de> Visitor<'de> for ReadPattern {
    type Value = RoutePattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, or a table such as { prefix = \"a\" }")
    }

    fn visit_str<E>(self, text: &str) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Text(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Number(Number::from(i128::from(number))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Number(Number::from(i128::from(number))))
    }

    fn visit_i128<E>(self, number: i128) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Number(Number::from(number)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Number(finite(number)?))
    }

    fn visit_bool<E>(self, value: bool) -> Result<RoutePattern, E> {
        Ok(RoutePattern::Bool(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RoutePattern, A::Error> {
        let operators = RouteOperators::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RoutePattern::Operators(Box::new(operators)))
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one_or_many(from).map(Self)
    }
}
