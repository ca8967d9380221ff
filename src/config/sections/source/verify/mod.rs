//! `[sources.NAME.verify]`: the schemes by which a provider's requests are verified, one a file.
//!
//! - `scheme`: the scheme of a source. `alternatives`: several of them, `verify_any`.
//! - `standard_webhooks`: signatures of the Standard Webhooks specification. `hmac`, `public_key`:
//!   any other signatures. `token`, `basic`: secrets that come with the request.
//! - `signed_request`: where a signature and its time are found, and the content that is signed.
//! - `context`: a source's settings that its schemes depend on. `common`: shared by schemes.

mod alternatives;
mod basic;
mod common;
pub(super) mod context;
mod hmac;
mod public_key;
mod scheme;
mod signed_request;
mod standard_webhooks;
mod token;

pub use alternatives::Alternative;
pub use basic::BasicScheme;
pub use hmac::{Algorithm, HmacScheme, SecretEncoding};
pub use public_key::{CertificateHost, PublicKeyScheme};
pub use scheme::Verify;
pub use signed_request::{Encoding, HeaderNames, SignedRequest, TimestampFormat};
pub use standard_webhooks::StandardWebhooks;
pub use token::TokenScheme;
