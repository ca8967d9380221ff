//! `[sources.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::rules::{Checked, MAX_BODY_BYTES, within};
use crate::config::secrets::{Secret, VariableNames};
use crate::config::sections::rate_limit::RateLimit;
use crate::config::sections::source::answer::Answer;
use crate::config::sections::source::body_and_query::{Decode, ForwardQuery};
use crate::config::sections::source::event_type::EventTypeAt;
use crate::config::sections::source::handshakes::Handshake;
use crate::config::sections::source::keys::{self, IdempotencyKeyAt, RedeliveryAction};
use crate::config::sections::source::verify::{Alternative, Verify};
use crate::config::units;
use crate::model::Level;
use crate::model::request::Conditions;
use crate::model::route::Route;

/// A webhook source.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Names of destinations; each gets a delivery of its own, of every event. May be left out if
    /// there are routes.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// More destinations, for the events that match. At most 64. Default: none.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The well-known sender whose settings this source has taken over. Default: none.
    #[serde(default)]
    pub provider: Option<String>,
    /// The values of `{param.NAME}` in templates. Default: none.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Where the provider's idempotency key is found. Default: the header `Idempotency-Key`.
    #[serde(default)]
    pub idempotency: IdempotencyKeyAt,
    /// How long a key names its first event. Default: `api.idempotency_window`.
    #[serde(default, deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub idempotency_window: Option<Duration>,
    /// The action of a duplicate whose event is dead-lettered. Default: none.
    #[serde(default)]
    pub on_redelivery: RedeliveryAction,
    /// Where an event's type is found. Default: events have none.
    #[serde(default)]
    pub event_type: Option<EventTypeAt>,
    /// The answer to accepted events and duplicates. Default: 202 and the contract's JSON.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// The questions that the provider asks, in the order in which they are tried. Default: none.
    #[serde(default)]
    pub handshakes: Vec<Handshake>,
    /// The tokens of `hub`.
    #[serde(default)]
    pub hub_tokens: Vec<Secret>,
    /// Environment variables that hold one token each.
    #[serde(default)]
    pub hub_tokens_env: Option<VariableNames>,
    /// A file that holds more tokens, one a line.
    #[serde(default)]
    pub hub_tokens_file: Option<PathBuf>,
    /// The topics of `hub`.
    #[serde(default)]
    pub hub_topics: Vec<String>,
    /// The origins of `cloudevents`. Default: any.
    #[serde(default)]
    pub origins: Option<Vec<String>>,
    /// How the query string reaches the destinations. Default: in the header `Relay-Query`.
    #[serde(default)]
    pub forward_query: ForwardQuery,
    /// How bodies are decoded before they are verified and checked. Default: they are not.
    #[serde(default)]
    pub decode: Option<Decode>,
    /// The largest body, in bytes. Default: [`Source::MAX_BODY_BYTES`].
    #[serde(default, deserialize_with = "units::some_size")]
    #[cfg_attr(test, schemars(with = "Option<units::SizeText>"))]
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
    #[serde(default, deserialize_with = "units::at_least_one")]
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
    #[serde(default, deserialize_with = "units::some_networks")]
    #[cfg_attr(test, schemars(with = "Vec<units::NetworkText>"))]
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
            routes: Vec::new(),
            provider: None,
            params: BTreeMap::new(),
            idempotency: IdempotencyKeyAt::default(),
            idempotency_window: None,
            on_redelivery: RedeliveryAction::default(),
            event_type: None,
            answer: None,
            handshakes: Vec::new(),
            hub_tokens: Vec::new(),
            hub_tokens_env: None,
            hub_tokens_file: None,
            hub_topics: Vec::new(),
            origins: None,
            forward_query: ForwardQuery::default(),
            decode: None,
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

    /// The names of all destinations, those of routes included, each once.
    pub(in crate::config) fn all_destinations(&self) -> impl Iterator<Item = &str> {
        let of_routes = self.routes.iter().flat_map(|route| &route.to);
        let mut seen = BTreeSet::new();
        let names = self.destinations.iter().chain(of_routes);
        names
            .map(String::as_str)
            .filter(move |name| seen.insert(*name))
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
        self.check_keys(key)?;
        if let Some(at) = &self.event_type {
            at.check(&format!("{key}.event_type"))?;
        }
        if let Some(answer) = &self.answer {
            answer.check(&format!("{key}.answer"))?;
        }
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

    fn check_keys(&self, key: &str) -> Checked {
        self.idempotency
            .check(&format!("{key}.idempotency"), self.accept_any_content)?;
        if let Some(window) = self.idempotency_window {
            let key = format!("{key}.idempotency_window");
            keys::check_window(&key, window, &self.idempotency)?;
        }
        if self.on_redelivery != RedeliveryAction::Ignore
            && self.idempotency == IdempotencyKeyAt::None
        {
            let problem = "contradicts idempotency = \"none\" (the source's or its provider's): \
                           without a key nothing is a redelivery";
            return Err((format!("{key}.on_redelivery"), problem.to_owned()));
        }
        Ok(())
    }
}
