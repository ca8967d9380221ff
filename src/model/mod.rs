//! What the program is about: ids, intents, destinations, deliveries and their states.
//!
//! Pure: no clock, no I/O, no SQL. Everything here is the same in every build.
//!
//! - `id`, `state`: an intent's identity, and the states of a delivery.
//! - `retry`, `breaker`, `failure`: when an attempt is repeated, and when a destination is left
//!   alone. `level`: how far deliveries go.
//! - `url`, `address`: where a delivery may go.

mod address;
mod breaker;
mod failure;
mod id;
mod level;
mod retry;
mod state;
mod url;

pub use address::{AddressPolicy, is_public};
pub use breaker::{Breaker, BreakerChange, BreakerRules, Health};
pub use failure::Failure;
pub use id::{IntentId, InvalidId};
pub use level::Level;
pub use retry::{Retry, RetryPlan};
pub use state::{DeliveryState, Step};
pub use url::{InvalidUrl, TargetUrl};

/// Which of the two contracts an intent came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Surface {
    /// `/v1/relays`.
    Relay = 0,
    /// `/webhooks/{source}`.
    Event = 1,
}

impl Surface {
    /// From its number in the database.
    pub const fn from_number(number: i64) -> Self {
        if number == Self::Relay as i64 {
            Self::Relay
        } else {
            Self::Event
        }
    }

    /// The name that metrics and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relays",
            Self::Event => "webhooks",
        }
    }
}

/// Whether `name` can name a source or a destination: 1–64 of `[A-Za-z0-9._-]`.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
