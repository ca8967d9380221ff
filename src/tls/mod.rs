//! Certificates and private keys, for both ends of a connection: the listeners and destinations.
//!
//! - `certificate`: reads a certificate's issuer and dates. `names`: whether it is for a name.
//!   `issued`: the name by which its authority knows it.
//! - `pair`: reads a certificate and its key from their files. `client`: a client that checks its
//!   server.

mod certificate;
mod client;
mod issued;
mod names;
mod pair;

pub(crate) use certificate::{Facts, facts};
pub(crate) use client::{Authorities, client_config};
pub(crate) use issued::{base64url, issued};
pub(crate) use names::is_for;
#[allow(
    unused_imports,
    reason = "a build without HTTP delivery trusts no file"
)]
pub(crate) use pair::certificates;
pub(crate) use pair::{PairFiles, read_pair};
