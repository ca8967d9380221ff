//! `[sources.NAME.verify]`: the schemes by which a provider's signature is checked, one a file.
//! `scheme` chooses one, and `common` has the rules that they share.

mod common;
mod hmac;
mod scheme;
mod standard_webhooks;

pub use hmac::{Algorithm, Encoding, HmacScheme};
pub use scheme::Verify;
pub use standard_webhooks::StandardWebhooks;
