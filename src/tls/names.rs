//! The names that a certificate is for.

use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

/// Whether a certificate is for the name of a host.
pub(crate) fn is_for(der: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = DnsName::try_from(name) else {
        return false;
    };
    let certificate = EndEntityCert::try_from(der);
    certificate.is_ok_and(|certificate| {
        let name = ServerName::DnsName(name);
        certificate.verify_is_valid_for_subject_name(&name).is_ok()
    })
}
