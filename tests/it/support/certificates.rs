//! Certificates of test servers, and of their authorities.

use std::path::Path;
use std::sync::Arc;

/// A certificate and its key.
pub struct Identity {
    params: rcgen::CertificateParams,
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Identity {
    /// A server configuration that presents this certificate.
    pub fn server(&self) -> rustls::ServerConfig {
        self.server_asking(None, rustls::ALL_VERSIONS)
    }

    /// A server configuration that presents this certificate, speaks these versions, and requires
    /// a certificate that `clients` signed.
    pub fn server_asking(
        &self,
        clients: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(self.key.serialize_der());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                let der = authority.certificate.der().clone();
                roots.add(der).expect("an authority");
                let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    provider,
                );
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        builder
            .with_single_cert(vec![self.certificate.der().clone()], key.expect("a key"))
            .expect("a certificate and its key")
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes the certificate and its key to files, the key for its owner alone; returns them as
    /// settings.
    pub fn write_pair(&self, directory: &Path) -> relay::config::Tls {
        use std::os::unix::fs::PermissionsExt as _;

        let files = relay::config::Tls {
            cert_file: directory.join("listener.pem"),
            key_file: directory.join("listener.key"),
        };
        std::fs::write(&files.cert_file, self.pem()).expect("writing it");
        std::fs::write(&files.key_file, self.key_pem()).expect("writing it");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&files.key_file, private).expect("its mode");
        files
    }

    /// Writes the certificate to a file; returns its path.
    pub fn write(&self, directory: &Path) -> std::path::PathBuf {
        let path = directory.join("certificate.pem");
        std::fs::write(&path, self.certificate.pem()).expect("writing it");
        path
    }
}

pub fn params(
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> rcgen::CertificateParams {
    let names = Vec::from_iter((!name.is_empty()).then(|| name.to_owned()));
    let mut params = rcgen::CertificateParams::new(names).expect("a name");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "ours");
    change(&mut params);
    params
}

/// A self-signed certificate, marked as an authority's in the way of openssl.
pub fn self_signed(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = params(name, change);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    signing_itself(params, key)
}

pub fn signing_itself(params: rcgen::CertificateParams, key: rcgen::KeyPair) -> Identity {
    let certificate = params.self_signed(&key).expect("a certificate");
    Identity {
        params,
        certificate,
        key,
    }
}

/// A certificate that `authority` signs.
pub fn signed_by(
    authority: &Identity,
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let issuer = rcgen::Issuer::from_params(&authority.params, &authority.key);
    let params = params(name, change);
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    Identity {
        params,
        certificate,
        key,
    }
}
