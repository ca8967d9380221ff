//! `[destinations.NAME]`: a named destination.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, resolved, signing_secrets, timeout};
use crate::config::secrets::{OneSecret, Secret, SecretList, VariableNames};
use crate::config::sections::breaker::BreakerSettings;
use crate::config::sections::delivery::check_limits;
use crate::config::sections::ordering::Ordering;
use crate::config::sections::proxy::{ProxySetting, authorization, check_authorization};
use crate::config::sections::rate_limit::RateLimit;
use crate::config::sections::retry::RetrySettings;
use crate::config::text_file;
use crate::config::units;
use crate::model::TargetUrl;
use crate::model::request::{is_of_connection, without_underscores};

/// A named destination.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The URL. The operator wrote it, so private addresses are allowed.
    pub url: TargetUrl,
    /// `whsec_…` secrets; each signs, so that they can be rotated. Default: none, unsigned.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one secret each.
    #[serde(default)]
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more secrets, one a line.
    #[serde(default)]
    pub secrets_file: Option<PathBuf>,
    /// Headers sent with every attempt; a value may be a token. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The time for an attempt as a whole. Default: `delivery.timeout`.
    #[serde(default, deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub timeout: Option<Duration>,
    /// Attempts a second (level durable). Default: `delivery.defaults.rate_limit`.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Attempts at once (level durable). Default: `delivery.defaults.concurrency`.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Statuses to retry that would otherwise dead-letter. Default: none.
    #[serde(default)]
    pub transient_statuses: Vec<u16>,
    /// Statuses to dead-letter that would otherwise be retried. Default: none.
    #[serde(default)]
    pub permanent_statuses: Vec<u16>,
    /// The retry schedule (level durable).
    #[serde(default)]
    pub retry: RetrySettings,
    /// The circuit breaker (level durable).
    #[serde(default)]
    pub breaker: BreakerSettings,
    /// The order in which deliveries are made. Default: none.
    #[serde(default)]
    pub ordering: Option<Ordering>,
    /// A PEM file of the only certificates to trust: a private authority, or the destination's own
    /// certificate, such as a self-signed one. Default: the usual roots.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the certificate that relay presents, with its chain. Default: none.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
    /// The proxy that this destination is reached through; `""`: none. Default: `delivery.proxy`.
    #[serde(default)]
    pub proxy: Option<ProxySetting>,
    /// The credentials for `proxy`: `user:password`, or a scheme with its own. Default: none.
    #[serde(default)]
    pub proxy_authorization: Option<Secret>,
    /// An environment variable that holds the credentials.
    #[serde(default)]
    pub proxy_authorization_env: Option<String>,
    /// A file that holds the credentials.
    #[serde(default)]
    pub proxy_authorization_file: Option<PathBuf>,
}

impl Destination {
    /// A destination of which only the URL is set.
    pub fn new(url: TargetUrl) -> Self {
        Self {
            url,
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            headers: BTreeMap::new(),
            timeout: None,
            rate_limit: None,
            concurrency: None,
            transient_statuses: Vec::new(),
            permanent_statuses: Vec::new(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            ordering: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            proxy: None,
            proxy_authorization: None,
            proxy_authorization_env: None,
            proxy_authorization_file: None,
        }
    }

    pub(in crate::config) fn secret_list(&mut self, key: &str) -> SecretList<'_> {
        SecretList {
            key: format!("{key}.secrets"),
            secrets: &mut self.secrets,
            variables: &mut self.secrets_env,
            file: &mut self.secrets_file,
        }
    }

    pub(in crate::config) fn proxy_secret(&mut self, key: &str) -> OneSecret<'_> {
        authorization(
            key,
            &mut self.proxy_authorization,
            &mut self.proxy_authorization_env,
            &mut self.proxy_authorization_file,
        )
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        self.breaker.check(&format!("{key}.breaker"))?;
        if let Some(ordering) = &self.ordering {
            ordering.check(&format!("{key}.ordering"))?;
        }
        let secrets = format!("{key}.secrets");
        resolved(
            &secrets,
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        signing_secrets(&secrets, &self.secrets)?;
        self.check_headers(&format!("{key}.headers"))?;
        if let Some(limit) = self.timeout {
            timeout(&format!("{key}.timeout"), limit)?;
        }
        if let Some(path) = &self.ca_file {
            check_certificates(&format!("{key}.ca_file"), path)?;
        }
        self.check_identity(key)?;
        self.check_proxy(key)?;
        check_limits(key, self.rate_limit.as_ref(), self.concurrency)?;
        self.retry.check(&format!("{key}.retry"))?;
        self.check_statuses(key)
    }

    /// A certificate and a key, or neither.
    fn check_identity(&self, key: &str) -> Checked {
        let (certificate, private) = match (&self.client_cert_file, &self.client_key_file) {
            (None, None) => return Ok(()),
            (Some(certificate), Some(private)) => (certificate, private),
            (Some(path), None) => {
                let problem = "expected client_key_file beside it: the certificate's private key";
                return bad_file(&format!("{key}.client_cert_file"), path, problem);
            }
            (None, Some(path)) => {
                let problem = "expected client_cert_file beside it: the key's certificate";
                return bad_file(&format!("{key}.client_key_file"), path, problem);
            }
        };
        if self.url.origin().starts_with("http:") {
            let problem = "contradicts url, which is http: expected an https URL, since only TLS \
                           asks for certificates";
            return bad_file(&format!("{key}.client_cert_file"), certificate, problem);
        }
        check_certificates(&format!("{key}.client_cert_file"), certificate)?;
        check_private_key(&format!("{key}.client_key_file"), private)
    }

    fn check_proxy(&self, key: &str) -> Checked {
        let references = (
            self.proxy_authorization_env.is_some(),
            self.proxy_authorization_file.is_some(),
        );
        let (proxy, secret) = (self.proxy.as_ref(), self.proxy_authorization.as_ref());
        check_authorization(key, proxy, secret, references)
    }

    fn check_headers(&self, key: &str) -> Checked {
        let mut seen = HashSet::new();
        for (name, value) in &self.headers {
            let Ok(header) = HeaderName::try_from(name) else {
                return bad(key, quoted(name), "the name of an HTTP header");
            };
            let name_of_own = without_underscores(&header);
            let is_own = is_of_connection(&header)
                || ["webhook-", "relay-"]
                    .iter()
                    .any(|prefix| name_of_own.starts_with(prefix));
            if !seen.insert(header) {
                return bad(key, quoted(name), "each header once, in whatever case");
            }
            if is_own {
                return bad(key, quoted(name), "a header that relay doesn't set itself");
            }
            if HeaderValue::try_from(value.reveal()).is_err() {
                return Err((
                    format!("{key}.{name}"),
                    "expected a value without control characters".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn check_statuses(&self, key: &str) -> Checked {
        for (list, statuses) in [
            ("transient_statuses", &self.transient_statuses),
            ("permanent_statuses", &self.permanent_statuses),
        ] {
            let key = format!("{key}.{list}");
            for status in statuses {
                if !(300..=599).contains(status) {
                    return bad(&key, status, "a status from 300 to 599");
                }
                if list == "permanent_statuses" && self.transient_statuses.contains(status) {
                    let expected = "a status that isn't among transient_statuses too";
                    return bad(&key, status, expected);
                }
            }
        }
        Ok(())
    }
}

/// Refuses a file that holds no certificate. TLS decides later whether the certificates are usable.
fn check_certificates(key: &str, path: &Path) -> Checked {
    match text_file::read(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
        Ok(_) => bad(key, quoted(path), "a PEM file of certificates"),
        Err(error) => bad_file(key, path, &error.to_string()),
    }
}

/// Finds the wrong file. TLS decides later whether the key is usable and the certificate's.
fn check_private_key(key: &str, path: &Path) -> Checked {
    match text_file::read(path) {
        Ok(text) if is_encrypted(&text) => {
            let expected = "a key without a passphrase, in a file that only relay can read";
            bad(key, quoted(path), expected)
        }
        Ok(text) if text.contains("PRIVATE KEY-----") => Ok(()),
        Ok(_) => bad(key, quoted(path), "a PEM file of a private key"),
        Err(error) => bad_file(key, path, &error.to_string()),
    }
}

fn is_encrypted(pem: &str) -> bool {
    [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
    ]
    .iter()
    .any(|mark| pem.contains(mark))
}

fn bad_file(key: &str, path: &Path, problem: &str) -> Checked {
    Err((key.to_owned(), format!("{}: {problem}", quoted(path))))
}
