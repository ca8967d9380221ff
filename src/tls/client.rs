//! The client's end of a connection whose server is checked by its authority.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::named_file::quoted;
use crate::tls::pair::certificates;

/// The authorities that vouch for a server.
pub(crate) enum Authorities<'a> {
    /// The usual ones: Mozilla's.
    Public,
    /// Those of a PEM file, and no others.
    File(&'a Path),
}

/// A client that trusts servers of these authorities. An error is the problem of the file.
pub(crate) fn client_config(trusted: &Authorities<'_>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match trusted {
        Authorities::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Authorities::File(path) => {
            let of_file = |problem: String| format!("{}: {problem}", quoted(path));
            for certificate in certificates(path).map_err(of_file)? {
                let added = roots.add(certificate);
                added.map_err(|error| of_file(format!("expected authorities: {error}")))?;
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
