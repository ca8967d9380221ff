//! `[server.tls]` and `[admin.tls]`: the certificate of a listener.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};

/// The files of a listener's certificate. They are read at the start, at each reload, and every
/// hour.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, followed by those of its intermediate authorities, in PEM.
    pub cert_file: PathBuf,
    /// The private key of the certificate, in PEM, without a passphrase.
    pub key_file: PathBuf,
}

impl Tls {
    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        for (name, path) in [("cert_file", &self.cert_file), ("key_file", &self.key_file)] {
            if path.as_os_str().is_empty() {
                return bad(
                    &format!("{key}.{name}"),
                    quoted(path),
                    "the path of a PEM file",
                );
            }
        }
        Ok(())
    }
}
