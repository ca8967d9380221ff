//! `[sources.NAME]`: a webhook source.
//!
//! - `section`: the section itself. `keys`: where an event's idempotency key is found.
//! - `verify`: the schemes of signatures, one a file.
//! - `templates`: the layout of a signature header, and the content that is signed.

mod keys;
mod section;
mod templates;
mod verify;

pub use keys::IdempotencyKeyAt;
pub use section::Source;
pub use templates::{SignatureFormat, SignedContent, SignedPart};
pub use verify::{Algorithm, Encoding, HmacScheme, StandardWebhooks, Verify};
