//! The certificates that a destination may present, the one that relay presents, and the errors
//! about all others.
//!
//! A certificate in `ca_file` is trusted in two ways: as an authority for others, and, if the
//! destination presents that very certificate, by itself. So a self-signed certificate works even
//! if it is marked as an authority's, which rustls would refuse.
//!
//! - `files`: reads certificates and keys. `verifier`: checks a destination's certificate.
//! - `reasons`: words the errors.

mod files;
mod reasons;
mod verifier;

pub(super) use files::client_of;
pub(super) use reasons::explain;
pub(super) use verifier::{Roots, client, validity};
