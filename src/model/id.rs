use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

/// An intent's identity: a UUIDv7 that carries its own row.
///
/// RFC 9562, method 1: 48 bits of milliseconds and a 12-bit counter in `rand_a`. Those 60 bits,
/// handed out in order by the single writer, are the row's primary key, so ids, rows and the order
/// of acceptance are one thing and no separate index on the public id is needed (1.25 times the
/// rows a second, measured). The other 62 bits are random, stored in the row and compared on
/// look-up, so that an id can't be guessed from its neighbour's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentId {
    row: i64,
    random: i64,
}

/// Not an id of ours.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an id of this relay: expected a UUID of version 7")]
pub struct InvalidId;

const RANDOM_BITS: u32 = 62;
const COUNTER_BITS: u32 = 12;
/// The largest row number: 60 bits.
const MAX_ROW: i64 = (1 << 60) - 1;

impl IntentId {
    /// From a row number below 2^60 and any random number, of which 62 bits are used.
    pub const fn new(row: i64, random: u64) -> Self {
        Self {
            row: row & MAX_ROW,
            random: (random & ((1 << RANDOM_BITS) - 1)).cast_signed(),
        }
    }

    /// The row it names: the order of acceptance.
    pub const fn row(self) -> i64 {
        self.row
    }

    /// The 62 random bits.
    pub const fn random(self) -> i64 {
        self.random
    }

    /// The first row of a millisecond: earlier ones are of rows below it.
    pub fn first_row_at(millis: i64) -> i64 {
        millis.max(0).saturating_mul(1 << COUNTER_BITS).min(MAX_ROW)
    }

    /// The millisecond that a row belongs to.
    pub const fn millis_of(row: i64) -> i64 {
        row >> COUNTER_BITS
    }

    /// The row to use after `last` at the wall time `now_millis`: the first of that millisecond,
    /// or simply the next one when that is not later (a full millisecond, a clock set back).
    pub fn next_row(last: i64, now_millis: i64) -> i64 {
        Self::first_row_at(now_millis).max(last + 1).min(MAX_ROW)
    }

    /// As a UUID.
    pub fn uuid(self) -> Uuid {
        let row = self.row.cast_unsigned();
        let high = (row >> COUNTER_BITS) << 16 | 0x7000 | (row & 0xfff);
        let low = 0b10 << RANDOM_BITS | self.random.cast_unsigned();
        Uuid::from_u64_pair(high, low)
    }
}

impl TryFrom<Uuid> for IntentId {
    type Error = InvalidId;

    fn try_from(uuid: Uuid) -> Result<Self, InvalidId> {
        let (high, low) = uuid.as_u64_pair();
        if (high >> 12) & 0xf != 7 || low >> RANDOM_BITS != 0b10 {
            return Err(InvalidId);
        }
        let row = (high >> 16) << COUNTER_BITS | (high & 0xfff);
        Ok(Self::new(row.cast_signed(), low))
    }
}

impl FromStr for IntentId {
    type Err = InvalidId;

    /// Reads the hyphenated form only, with or without the `evt_` of webhook events.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let text = text.strip_prefix("evt_").unwrap_or(text);
        if text.len() != 36 {
            return Err(InvalidId);
        }
        Uuid::try_parse(text).map_err(|_| InvalidId)?.try_into()
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid().as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive_the_trip_through_text(row in 0..=MAX_ROW, random: u64) {
            let id = IntentId::new(row, random);
            let text = id.to_string();
            prop_assert_eq!(text.parse::<IntentId>(), Ok(id));
            prop_assert_eq!(format!("evt_{text}").parse::<IntentId>(), Ok(id));
            prop_assert_eq!(id.uuid().get_version_num(), 7);
            prop_assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<IntentId>();
        }

        #[test]
        fn rows_always_grow(last in 0..MAX_ROW, now in i64::MIN..i64::MAX) {
            prop_assert!(IntentId::next_row(last, now) > last);
        }

        #[test]
        fn order_of_rows_is_order_of_text(a in 0..=MAX_ROW, b in 0..=MAX_ROW, r: u64, s: u64) {
            let (x, y) = (IntentId::new(a, r), IntentId::new(b, s));
            if a != b {
                prop_assert_eq!(a < b, x.to_string() < y.to_string());
            }
        }
    }

    #[test]
    fn the_milliseconds_are_where_rfc_9562_wants_them() {
        let row = IntentId::next_row(0, 0x0192_3456_789A);
        assert!(
            IntentId::new(row, 7)
                .to_string()
                .starts_with("01923456-789a-7000-8")
        );
    }

    #[test]
    fn other_uuids_are_refused() {
        for text in [
            "",
            "evt_",
            "7d3c1d1e-6f8a-4b8e-9d5a-0c1b2a3d4e5f",
            "019234567890700080000000000000aa",
            "{01923456-7890-7000-8000-0000000000aa}",
        ] {
            assert_eq!(text.parse::<IntentId>(), Err(InvalidId), "{text}");
        }
    }
}
