//! Compares numbers as they are written, digit by digit: 9007199254740993 is above
//! 9007199254740992, and `1e3` is `1000`.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A number of the configuration, as JSON writes it.
#[derive(Clone, Debug, Eq)]
pub struct Number(String);

impl Number {
    /// How a number of a JSON document compares with this one. None if `text` is no number.
    pub(in crate::model) fn compare(&self, text: &str) -> Option<Ordering> {
        Some(Decimal::parse(text)?.cmp(&Decimal::parse(&self.0)?))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.compare(&other.0) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(Decimal::parse(&self.0)?.cmp(&Decimal::parse(&other.0)?))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i128> for Number {
    fn from(number: i128) -> Self {
        Self(number.to_string())
    }
}

/// The shortest decimal that is this number. JSON has no infinity.
pub(super) fn finite<E: Error>(number: f64) -> Result<Number, E> {
    if number.is_finite() {
        return Ok(Number(format!("{number:?}")));
    }
    let problem = format!("{number}: expected a finite number: JSON has no other");
    Err(E::custom(problem))
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number::from(i128::from(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number::from(i128::from(number)))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Number, E> {
                Ok(Number::from(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                finite(number)
            }
        }

        from.deserialize_any(Read)
    }
}

/// A decimal number: 0.D × 10^`magnitude`, where D are the digits from the first on that is not 0.
#[derive(Debug)]
struct Decimal<'a> {
    is_negative: bool,
    /// The digits before and after the point.
    digits: [&'a [u8]; 2],
    /// None for zero.
    magnitude: Option<i64>,
}

impl<'a> Decimal<'a> {
    /// Reads a JSON number. None for any other text.
    fn parse(text: &'a str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole.as_bytes(), fraction.as_bytes()];
        let mut all = digits.iter().copied().flatten();
        if whole.is_empty() || !all.clone().all(u8::is_ascii_digit) {
            return None;
        }
        let length = whole.len() + fraction.len();
        let zeros = all.position(|digit| *digit != b'0').unwrap_or(length);
        let magnitude = (zeros < length).then(|| {
            let point = i64::try_from(whole.len()).unwrap_or(i64::MAX);
            let zeros = i64::try_from(zeros).unwrap_or(i64::MAX);
            (point - zeros).saturating_add(exponent)
        });
        Some(Self {
            is_negative: is_negative && magnitude.is_some(),
            digits,
            magnitude,
        })
    }

    fn significant(&self) -> impl Iterator<Item = u8> + use<'a> {
        let [whole, fraction] = self.digits;
        let digits = whole.iter().chain(fraction).copied();
        digits.skip_while(|digit| *digit == b'0')
    }

    /// Compares without the signs.
    fn compare_absolute(&self, other: &Self) -> Ordering {
        let by_magnitude = self.magnitude.cmp(&other.magnitude);
        by_magnitude.then_with(|| {
            let (mut one, mut two) = (self.significant(), other.significant());
            loop {
                let ordering = match (one.next(), two.next()) {
                    (None, None) => return Ordering::Equal,
                    (a, b) => a.unwrap_or(b'0').cmp(&b.unwrap_or(b'0')),
                };
                if ordering.is_ne() {
                    return ordering;
                }
            }
        })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_absolute(other),
            (true, true) => other.compare_absolute(self),
        }
    }
}

/// The exponent of a number, as far as it is in the range: beyond it no number is near one of the
/// configuration. None if the text is no exponent.
fn read_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse().unwrap_or(i64::MAX);
    Some(if is_negative { -exponent } else { exponent })
}
