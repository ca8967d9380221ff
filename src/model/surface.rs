//! The two contracts by which an intent comes in.

use super::id::IntentId;

/// The contract by which an intent came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Surface {
    /// `/v1/relays`.
    Relay = 0,
    /// `/webhooks/{source}`.
    Event = 1,
}

impl Surface {
    /// The surface with this number in the database.
    pub const fn from_number(number: i64) -> Self {
        if number == Self::Relay as i64 {
            Self::Relay
        } else {
            Self::Event
        }
    }

    /// The id of an intent as clients see it.
    pub fn public_id(self, id: IntentId) -> String {
        match self {
            Self::Relay => id.to_string(),
            Self::Event => format!("evt_{id}"),
        }
    }

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relays",
            Self::Event => "webhooks",
        }
    }
}
