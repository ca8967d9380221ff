//! The files of a destination's TLS: the certificates to trust, relay's certificate and its key.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::config::{ClientCertificate, NetworkPolicy};
use crate::delivery::levels::http::tls::verifier::{Roots, client};
use crate::named_file::quoted;
use crate::tls::{PairFiles, certificates, read_pair};

/// A key of a destination's section, and the problem of its value.
type Problem = (&'static str, String);

/// A client for the TLS of a destination.
pub(in crate::delivery::levels::http) fn client_of(
    network: &NetworkPolicy,
) -> Result<Arc<ClientConfig>, Problem> {
    let of_authorities = |problem: String| match &network.ca_file {
        Some(path) => ("ca_file", format!("{}: {problem}", quoted(path))),
        None => ("url", problem),
    };
    let roots = match &network.ca_file {
        None => Roots::Public {
            may_have_file: true,
        },
        Some(path) => Roots::File(certificates(path).map_err(of_authorities)?),
    };
    let identity = network.client_certificate.as_ref().map(files_of);
    let identity = identity.map(|files| read_pair(&files)).transpose()?;
    client(roots, identity).map_err(of_authorities)
}

/// A client certificate, with the key that belongs to it.
fn files_of(files: &ClientCertificate) -> PairFiles<'_> {
    PairFiles {
        certificate: &files.certificate,
        key: &files.key,
        certificate_setting: "client_cert_file",
        key_setting: "client_key_file",
    }
}
