//! Certificates and private keys, for both ends of a connection: the listeners and destinations.
//!
//! - `certificate`: reads a certificate's issuer and dates. `pair`: reads a certificate and its key
//!   from their files.

mod certificate;
mod pair;

pub(crate) use certificate::{Facts, facts};
#[allow(
    unused_imports,
    reason = "a build without HTTP delivery trusts no file"
)]
pub(crate) use pair::certificates;
pub(crate) use pair::{PairFiles, read_pair};
