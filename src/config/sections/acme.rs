//! `[server.acme]`: certificates of the public listener by ACME.

use std::path::PathBuf;

use ::http::Uri;
use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};
use crate::model::without_password;

/// Names of a certificate at most: authorities take a hundred.
const MAX_DOMAINS: usize = 100;
/// The port at which public authorities check (RFC 8737, 3).
const PORT: u16 = 443;

/// The certificate of the public listener, from an authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The names that the certificate is for.
    pub domains: Vec<String>,
    /// The address by which the authority can reach the operator. Default: none.
    #[serde(default)]
    pub email: Option<String>,
    /// The authority. Default: Let's Encrypt.
    #[serde(default = "lets_encrypt")]
    pub directory_url: String,
    /// Whether the operator agrees to the authority's terms of service.
    #[serde(default)]
    pub accept_terms: bool,
    /// The port by which the authority reaches the listener, if it isn't the listener's own.
    #[serde(default)]
    pub external_port: Option<u16>,
    /// Authorities that vouch for the directory's own server, in PEM. Default: the usual ones,
    /// Mozilla's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn lets_encrypt() -> String {
    "https://acme-v02.api.letsencrypt.org/directory".to_owned()
}

impl Acme {
    /// `port` is that of `server.listen`.
    pub(in crate::config) fn check(&self, key: &str, port: u16) -> Checked {
        self.check_domains(&format!("{key}.domains"))?;
        if !self.accept_terms {
            return bad(
                &format!("{key}.accept_terms"),
                self.accept_terms,
                "true: the authority issues nothing without agreement to its terms",
            );
        }
        if let Some(email) = &self.email
            && !is_address(email)
        {
            let expected = "an address such as \"ops@example.com\"";
            return bad(&format!("{key}.email"), quoted(email), expected);
        }
        if !is_https(&self.directory_url) {
            return bad(
                &format!("{key}.directory_url"),
                quoted(&without_password(&self.directory_url)),
                "a URL of https, such as that of Let's Encrypt",
            );
        }
        match self.external_port {
            Some(0) => bad(&format!("{key}.external_port"), 0, "1 to 65535"),
            None if port != PORT => Err((
                format!("{key}.external_port"),
                format!(
                    "missing: server.listen has port {port}, and authorities check names at port \
                     {PORT}: expected {PORT} if it is forwarded there, or server.listen = \":{PORT}\""
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The port by which the authority reaches the listener, if no public authority uses it.
    pub(in crate::config) fn unusual_port(&self) -> Option<u16> {
        self.external_port.filter(|port| *port != PORT)
    }

    fn check_domains(&self, key: &str) -> Checked {
        if self.domains.is_empty() || self.domains.len() > MAX_DOMAINS {
            let count = format_args!("{} names", self.domains.len());
            return bad(key, count, "1 to 100 names");
        }
        for (at, domain) in self.domains.iter().enumerate() {
            if !is_domain(domain) {
                return bad(
                    key,
                    quoted(domain),
                    "a name in lower case such as \"hooks.example.com\", without a wildcard: \
                     tls-alpn-01 can't prove one",
                );
            }
            if self.domains[..at].contains(domain) {
                return bad(key, quoted(domain), "each name once");
            }
        }
        Ok(())
    }
}

/// Whether a text is a host's name (RFC 1123, 2.1), as certificates hold it: not an address, and
/// international names as `xn--…`.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_address(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    text.len() <= 254
        && text
            .split_once('@')
            .is_some_and(|(name, host)| is_part(name) && is_domain(host))
}

fn is_https(text: &str) -> bool {
    let url = text.parse::<Uri>();
    url.is_ok_and(|url| {
        let has_user = url
            .authority()
            .is_some_and(|all| all.as_str().contains('@'));
        url.scheme_str() == Some("https") && url.host().is_some() && !has_user
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Acme {
        Acme {
            domains: vec!["hooks.example.com".to_owned()],
            email: None,
            directory_url: lets_encrypt(),
            accept_terms: true,
            external_port: None,
            ca_file: None,
        }
    }

    fn problem(acme: &Acme, port: u16) -> String {
        let (key, problem) = acme.check("server.acme", port).expect_err("a problem");
        format!("{key}: {problem}")
    }

    #[test]
    fn a_port_that_authorities_cannot_reach_is_refused_unless_another_one_leads_there() {
        let mut acme = acme();
        acme.check("server.acme", 443).expect("fine");
        assert!(problem(&acme, 8443).starts_with("server.acme.external_port: missing"));
        acme.external_port = Some(443);
        acme.check("server.acme", 8443).expect("fine");
        assert_eq!(acme.unusual_port(), None);
        acme.external_port = Some(5001);
        acme.check("server.acme", 0).expect("a test authority's");
        assert_eq!(acme.unusual_port(), Some(5001));
        acme.external_port = Some(0);
        assert!(problem(&acme, 443).contains("1 to 65535"));
    }

    #[test]
    fn names_terms_and_addresses_are_checked() {
        let long = format!("{}.example", "a".repeat(64));
        for domain in [
            "",
            "*.example.com",
            "Hooks.example.com",
            "10.0.0.1",
            "a..b",
            "-a.example",
            "a b.c",
            &long,
        ] {
            let mut acme = acme();
            acme.domains.push(domain.to_owned());
            assert!(
                problem(&acme, 443).starts_with("server.acme.domains: "),
                "{domain}"
            );
        }
        let mut twice = acme();
        twice.domains = vec!["a.example".to_owned(); 2];
        assert!(problem(&twice, 443).contains("each name once"));
        let mut none = acme();
        none.domains.clear();
        assert!(problem(&none, 443).contains("0 names"));
        let mut refusing = acme();
        refusing.accept_terms = false;
        assert!(problem(&refusing, 443).starts_with("server.acme.accept_terms: false"));
        let mut mute = acme();
        mute.email = Some("nobody".to_owned());
        assert!(problem(&mute, 443).starts_with("server.acme.email"));
        let mut plain = acme();
        plain.directory_url = "http://acme.example/directory".to_owned();
        assert!(problem(&plain, 443).starts_with("server.acme.directory_url"));
    }
}
