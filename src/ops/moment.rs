//! A moment as operators write it.

use std::time::Duration;

use crate::clock::Timestamp;

/// A moment: a time (RFC 3339), or an age (`2h`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// Reads a moment. The error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Timestamp::from_millis(at.as_millisecond())));
        }
        crate::config::parse_duration(text)
            .map(Self::Ago)
            .map_err(|_| {
                "expected a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h or 7d"
                    .to_owned()
            })
    }

    /// The time that is meant.
    pub fn when(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.minus(ago),
        }
    }
}
