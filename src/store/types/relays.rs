//! Relays as they are shown.

use std::fmt;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};

/// A relay as it is shown.
pub(crate) struct StoredRelay {
    pub id: IntentId,
    pub event_type: String,
    pub url: String,
    pub payload: Vec<u8>,
    pub metadata: Option<String>,
    pub created_at: Timestamp,
    pub state: DeliveryState,
    /// When the state last changed.
    pub updated_at: Timestamp,
    pub last_error: Option<String>,
}

impl StoredRelay {
    /// Bytes of its payload and metadata.
    pub fn size(&self) -> usize {
        self.payload.len() + self.metadata.as_ref().map_or(0, String::len)
    }
}

/// A page of relays, oldest first.
pub(crate) struct RelaysPage {
    pub relays: Vec<StoredRelay>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<RelayCursor>,
}

/// The place between two pages of relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelayCursor(pub(in crate::store) i64);

/// The first characters of a cursor's text, which tell it from a token of another kind.
const PREFIX: &str = "r1-";
/// Hexadecimal digits of a cursor's number: 60 bits.
const DIGITS: usize = 15;

impl RelayCursor {
    /// Reads a cursor's text; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(PREFIX)?;
        let is_ours = hex.len() == DIGITS
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_ours
            .then(|| i64::from_str_radix(hex, 16).ok())?
            .map(Self)
    }
}

impl fmt::Display for RelayCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:0DIGITS$x}", self.0)
    }
}

#[cfg(test)]
impl RelayCursor {
    /// A cursor of the test's choice.
    pub const fn of_test(number: i64) -> Self {
        Self(number)
    }
}
