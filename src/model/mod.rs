//! The domain: ids, intents, destinations, deliveries and their states.
//!
//! Pure: no clock, no I/O, no SQL. Everything here is the same in every build.
//!
//! - `id`: an intent's identity. `surface`: the contract by which an intent came in.
//! - `state`: the states of a delivery, and the table of transitions between them.
//! - `retry`, `breaker`, `failure_kind`: when an attempt is repeated, and when a destination gets
//!   no attempts. `retry_after`: when a server wants the next one. `level`: which parts of delivery
//!   run.
//! - `rollup`: the counts of a period. `trend`: forecasts by it. `heartbeat`: how a beat is sent.
//!   `ping`: how a destination is tested.
//! - `url`, `address`: the destinations that a delivery may reach.
//! - `ordering`: the keys by which deliveries are kept in order.
//! - `proxy`: the proxy on the way there, and the hosts that are reached without it.
//! - `request`: a request as the configuration speaks of it. `route`: the events that go to further
//!   destinations. `number`, `one_or_many`: the numbers that both compare, and the lists
//!   that both read. `public_key`: the signatures of providers that have one.

mod address;
mod breaker;
mod failure_kind;
mod heartbeat;
mod id;
mod level;
mod number;
mod one_or_many;
mod ordering;
mod ping;
mod proxy;
mod public_key;
pub mod request;
mod retry;
mod retry_after;
mod rollup;
pub mod route;
mod state;
mod surface;
mod trend;
mod url;

pub use address::{AddressPolicy, canonical_network, is_public};
pub use breaker::{Breaker, BreakerChange, BreakerRules, Health};
pub use failure_kind::FailureKind;
pub use heartbeat::SendHeartbeat;
pub use id::{IntentId, InvalidId};
pub use level::Level;
pub use number::Number;
pub use ordering::{DeliveryOrder, KeySource, OnDead, OrderBy, OrderKey};
pub use ping::{PingError, PingReport, SendPing};
pub use proxy::{InvalidNoProxy, InvalidProxy, NoProxy, ProxyUrl, known_address};
pub use public_key::{FetchCertificate, PublicKey, PublicKeyAlgorithm, base64, is_certificate};
pub use retry::{Retry, RetryPlan};
pub(crate) use retry_after::retry_after;
pub use rollup::{DestinationCounts, LATENCY_BUCKETS, LatencyHistogram, SourceCounts};
pub use state::{DeliveryState, Transition};
pub use surface::Surface;
pub(crate) use trend::time_to_grow;
pub use url::{
    InvalidUrl, TargetUrl, has_fine_port, literal_address, origin_of, shown_url, without_password,
};

/// Whether `name` can name a source or a destination: 1–64 characters of `[A-Za-z0-9._-]`.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
