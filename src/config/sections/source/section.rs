//! `[sources.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::rules::{Checked, MAX_BODY_BYTES, bad, within};
use crate::config::secrets::{Secret, VariableNames};
use crate::config::sections::rate_limit::RateLimit;
use crate::config::sections::source::keys::IdempotencyKeyAt;
use crate::config::sections::source::verify::{Alternative, Verify};
use crate::config::units;
use crate::model::Level;
use crate::model::request::Conditions;

/// A webhook source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Names of destinations; each gets a delivery of its own.
    pub destinations: Vec<String>,
    /// The well-known sender whose settings this source has taken over. Default: none.
    #[serde(default)]
    pub provider: Option<String>,
    /// The values of `{param.NAME}` in templates. Default: none.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Where the provider's idempotency key is found. Default: the header `Idempotency-Key`.
    #[serde(default)]
    pub idempotency: IdempotencyKeyAt,
    /// The largest body, in bytes. Default: [`Source::MAX_BODY_BYTES`].
    #[serde(default, deserialize_with = "units::some_size")]
    pub max_body_bytes: Option<u64>,
    /// Whether bodies that aren't JSON are accepted. Default: false.
    #[serde(default)]
    pub accept_any_content: bool,
    /// Whether the provider's `Authorization` is kept and delivered. Default: false.
    #[serde(default)]
    pub forward_authorization: bool,
    /// Events a second; for the catch-all, of each source name. Default: unlimited.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// How requests are verified. Default: they are not.
    #[serde(default)]
    pub verify: Option<Verify>,
    /// Several schemes, of which one has to verify a request; tried in order. At most four.
    #[serde(default)]
    pub verify_any: Vec<Alternative>,
    /// The secrets of the schemes that have none of their own.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one secret each.
    #[serde(default)]
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more secrets, one a line.
    #[serde(default)]
    pub secrets_file: Option<PathBuf>,
    /// The public keys of the schemes that have none of their own.
    #[serde(default)]
    pub public_keys: Vec<String>,
    /// A file that holds more public keys, one a line or in PEM.
    #[serde(default)]
    pub public_keys_file: Option<PathBuf>,
    /// Conditions that verified requests must meet; others get 403. Default: none.
    #[serde(default)]
    pub require: Conditions,
    /// The networks that may send; others get 403. Default: all.
    #[serde(default)]
    pub allow_ips: Vec<IpNet>,
    /// The beginning of the URL that the provider was given, up to the path. Default: that of the
    /// server.
    #[serde(default)]
    pub public_url: Option<String>,
}

impl Source {
    /// The largest body by default, 1 MiB: the largest providers send at most 25 MB (GitHub), and
    /// most events have some KB.
    pub const MAX_BODY_BYTES: u64 = 1 << 20;

    /// A source of which only the destinations are set.
    pub fn to(destinations: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            destinations: destinations.into_iter().map(Into::into).collect(),
            provider: None,
            params: BTreeMap::new(),
            idempotency: IdempotencyKeyAt::default(),
            max_body_bytes: None,
            accept_any_content: false,
            forward_authorization: false,
            rate_limit: None,
            verify: None,
            verify_any: Vec::new(),
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            public_keys: Vec::new(),
            public_keys_file: None,
            require: Conditions::default(),
            allow_ips: Vec::new(),
            public_url: None,
        }
    }

    /// The largest body, in bytes.
    pub fn max_body_bytes(&self) -> u64 {
        self.max_body_bytes.unwrap_or(Self::MAX_BODY_BYTES)
    }

    /// `server_url` is the server's public URL, `compiled` the highest level of this build.
    pub(in crate::config) fn check(
        &self,
        key: &str,
        server_url: Option<&str>,
        compiled: Level,
    ) -> Checked {
        if self.destinations.is_empty() {
            return bad(
                &format!("{key}.destinations"),
                "[]",
                "at least one destination",
            );
        }
        self.idempotency
            .check(&format!("{key}.idempotency"), self.accept_any_content)?;
        within(
            &format!("{key}.max_body_bytes"),
            self.max_body_bytes(),
            1,
            MAX_BODY_BYTES,
        )?;
        if let Some(limit) = &self.rate_limit {
            limit.check(&format!("{key}.rate_limit"))?;
        }
        self.check_verification(key, server_url, compiled)
    }
}
