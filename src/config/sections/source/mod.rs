//! `[sources.NAME]`: a webhook source.
//!
//! - `section`: the section itself. `keys`: where an event's idempotency key is found.
//! - `verify`: the schemes by which requests are verified, one a file. `verification`: the
//!   settings of a source that belong to them.
//! - `conditions`: the checks of `when` and `require`.

mod conditions;
mod keys;
mod section;
mod verification;
mod verify;

pub use keys::IdempotencyKeyAt;
pub use section::Source;
pub use verification::SourceVerify;
pub use verify::{
    Algorithm, Alternative, BasicScheme, CertificateHost, Encoding, HeaderNames, HmacScheme,
    PublicKeyScheme, SecretEncoding, SignedRequest, StandardWebhooks, TimestampFormat, TokenScheme,
    Verify,
};
