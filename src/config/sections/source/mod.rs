//! `[sources.NAME]`: a webhook source.
//!
//! - `section`: the section itself. `keys`: where an event's idempotency key is found.
//! - `event_type`, `answer`, `body_and_query`: the event's type, the answer to it, and the forms of
//!   its body and query.
//! - `handshakes`: the questions that a provider asks before it sends events. `handshake_checks`:
//!   their checks.
//! - `verify`: the schemes by which requests are verified, one a file. `verification`: the
//!   settings of a source that belong to them.
//! - `conditions`: the checks of `when` and `require`. `routes`, `route_values`: those of routes.

mod answer;
mod body_and_query;
mod conditions;
mod event_type;
mod handshake_checks;
mod handshakes;
mod keys;
mod route_values;
mod routes;
mod section;
mod verification;
mod verify;

pub use answer::Answer;
pub use body_and_query::{Decode, ForwardQuery};
pub use event_type::EventTypeAt;
pub use handshakes::{
    Handshake, HandshakeMethod, HandshakeName, HandshakeTable, ReplyJson, ReplyPart, ReplyText,
};
pub use keys::{IdempotencyKeyAt, RedeliveryAction};
pub use section::Source;
pub use verification::SourceVerify;
pub use verify::{
    Algorithm, Alternative, BasicScheme, CertificateHost, Encoding, HeaderNames, HmacScheme,
    PublicKeyScheme, SecretEncoding, SignedRequest, StandardWebhooks, TimestampFormat, TokenScheme,
    Verify,
};
