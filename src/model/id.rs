//! The identity of an intent.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

/// An intent's identity: a UUIDv7 that carries its own row.
///
/// RFC 9562, method 1: 48 bits of milliseconds and a 12-bit counter in `rand_a`. The single writer
/// assigns those 60 bits in order, and they are the row's primary key: ids sort in the order of
/// acceptance, and the public id needs no index of its own (1.25 times the rows a second,
/// measured). The other 62 bits are random, stored in the row and compared on look-up, so that an
/// id can't be guessed from its neighbour's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentId {
    row: i64,
    random: i64,
}

/// The text or UUID is no id of this relay.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an id of this relay: expected a UUID of version 7")]
pub struct InvalidId;

const RANDOM_BITS: u32 = 62;
const COUNTER_BITS: u32 = 12;
/// The largest row number: 60 bits.
const MAX_ROW: i64 = (1 << 60) - 1;

impl IntentId {
    /// The id of a row number below 2^60 and a random number, of which 62 bits are used.
    pub const fn new(row: i64, random: u64) -> Self {
        Self {
            row: row & MAX_ROW,
            random: (random & ((1 << RANDOM_BITS) - 1)).cast_signed(),
        }
    }

    /// The row number: the order of acceptance.
    pub const fn row(self) -> i64 {
        self.row
    }

    /// The 62 random bits.
    pub const fn random(self) -> i64 {
        self.random
    }

    /// The first row of a millisecond: rows of earlier milliseconds are below it.
    pub fn first_row_at(millis: i64) -> i64 {
        millis.max(0).saturating_mul(1 << COUNTER_BITS).min(MAX_ROW)
    }

    /// The millisecond that a row belongs to.
    pub const fn millis_of(row: i64) -> i64 {
        row >> COUNTER_BITS
    }

    /// The row to assign after `last` at the wall time `now_millis`: the first of that
    /// millisecond, or `last + 1` if that is higher (a full millisecond, a clock set back).
    pub fn next_row(last: i64, now_millis: i64) -> i64 {
        Self::first_row_at(now_millis).max(last + 1).min(MAX_ROW)
    }

    /// The id as a UUID.
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

    /// Parses the hyphenated form only, with or without the `evt_` of webhook events.
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
