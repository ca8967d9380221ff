//! The settings that take effect: every default applied, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::network::{NetworkPolicy, ProxyPolicy};
use crate::config::secrets::Secret;
use crate::config::sections::{
    ALERT_SOURCE, Admin, AlertFormat, Answer, Api, Backup, BreakerSettings, Database, Decode,
    Defaults, Destination, EventTypeAt, ForwardQuery, Handshake, HandshakeName, IdempotencyKeyAt,
    Node, RateLimit, RedeliveryAction, Retention, RetrySettings, Server, Simulated, Source,
    SourceVerify,
};
use crate::config::settings::Config;
use crate::model::request::Conditions;
use crate::model::route::RouteTable;
use crate::model::{
    AddressPolicy, BreakerRules, DeliveryOrder, Level, OnDead, OrderBy, Retry, RetryPlan, TargetUrl,
};

/// The settings that take effect. The parts of the relay share one `Arc` of them, and keep no
/// setting of their own beside it, so that all of them can be replaced together.
#[derive(Debug)]
pub struct Resolved {
    /// The public listener.
    pub server: Server,
    /// The operator's listener.
    pub admin: Admin,
    /// The database.
    pub database: Database,
    /// This process among those that share a database of PostgreSQL.
    pub node: Node,
    /// The relay API.
    pub api: Api,
    /// The executor.
    pub delivery: DeliveryPolicy,
    /// How long finished intents are kept.
    pub retention: Retention,
    /// The named destinations.
    pub destinations: BTreeMap<String, Arc<DestinationPolicy>>,
    /// The policy of every other destination: ad hoc origins, and names that are no longer
    /// configured.
    pub(super) adhoc: Arc<DestinationPolicy>,
    /// The webhook sources; `*` is the catch-all.
    pub sources: BTreeMap<String, Arc<SourcePolicy>>,
    /// Alerts and the heartbeat; none: the operator has the log alone.
    pub alerts: Option<AlertPolicy>,
    /// Backups at intervals; none: there are none.
    pub backup: Option<Backup>,
    longest_wait: Duration,
    longest_window: Duration,
}

/// The settings of the executor.
#[derive(Debug)]
pub struct DeliveryPolicy {
    /// The level that runs.
    pub level: Level,
    /// Worker threads.
    pub workers: usize,
    /// The time for an attempt as a whole at level simulated, and by default.
    pub timeout: Duration,
    /// The time to connect.
    pub connect_timeout: Duration,
    /// Networks that ad hoc URLs may reach besides the public internet.
    pub allow_networks: Vec<IpNet>,
    /// The proxy of destinations without one of their own.
    pub proxy: Option<Arc<ProxyPolicy>>,
    /// Level simulated.
    pub simulated: Simulated,
}

/// The settings of alerts.
#[derive(Debug)]
pub struct AlertPolicy {
    /// The destination of alerts; none: there are none.
    pub destination: Option<String>,
    /// The form of an alert.
    pub format: AlertFormat,
    /// The heartbeat, if there is one.
    pub heartbeat: Option<HeartbeatPolicy>,
}

/// The settings of the heartbeat.
#[derive(Debug)]
pub struct HeartbeatPolicy {
    /// The URL, which is a secret.
    pub url: Secret,
    /// The time from one request to the next.
    pub every: Duration,
}

/// The settings of a destination.
#[derive(Debug, PartialEq)]
pub struct DestinationPolicy {
    /// None for an ad hoc origin, whose deliveries carry their own URL.
    pub url: Option<TargetUrl>,
    /// The secrets that sign; without any, deliveries are not signed.
    pub secrets: Vec<Secret>,
    /// Headers sent with every attempt.
    pub headers: BTreeMap<String, Secret>,
    /// The time for an attempt as a whole.
    pub timeout: Duration,
    /// Attempts a second; none: unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Attempts at once.
    pub concurrency: u32,
    /// Statuses to retry that would otherwise dead-letter.
    pub transient_statuses: Vec<u16>,
    /// Statuses to dead-letter that would otherwise be retried.
    pub permanent_statuses: Vec<u16>,
    /// The retry schedule at the level that runs.
    pub retry: Retry,
    /// The circuit breaker at the level that runs; none if there is none.
    pub breaker: Option<BreakerRules>,
    /// The order in which deliveries are made; none: each is made for itself.
    pub order: Option<DeliveryOrder>,
    /// The way to the destination.
    pub network: NetworkPolicy,
}

/// The settings of a webhook source.
#[derive(Debug, PartialEq)]
pub struct SourcePolicy {
    /// The names of the destinations of every event; each gets a delivery of its own.
    pub destinations: Arc<[String]>,
    /// The destinations of those events that match; none without routes.
    pub routes: Option<RouteTable>,
    /// Where the ordering keys are found, by destination; of its destinations that have an order.
    pub orders: BTreeMap<String, OrderBy>,
    /// Where the idempotency key is found.
    pub idempotency: IdempotencyKeyAt,
    /// How long a key names its first event.
    pub idempotency_window: Duration,
    /// The action of a duplicate whose event is dead-lettered.
    pub on_redelivery: RedeliveryAction,
    /// Where an event's type is found; none: events have no type.
    pub event_type: Option<EventTypeAt>,
    /// The answer to accepted events and duplicates; none: the contract's.
    pub answer: Option<Answer>,
    /// The questions that the provider asks.
    pub handshakes: Vec<Handshake>,
    /// The tokens of `hub`.
    pub hub_tokens: Vec<Secret>,
    /// The topics of `hub`.
    pub hub_topics: Vec<String>,
    /// The origins of `cloudevents`; none: any.
    pub origins: Option<Vec<String>>,
    /// How the query string reaches the destinations.
    pub forward_query: ForwardQuery,
    /// How bodies are decoded before they are checked; none: they are not.
    pub decode: Option<Decode>,
    /// The largest body, in bytes.
    pub max_body_bytes: u64,
    /// Whether bodies that aren't JSON are accepted.
    pub accept_any_content: bool,
    /// Whether the provider's `Authorization` is kept and delivered.
    pub forward_authorization: bool,
    /// Events a second; none: unlimited.
    pub rate_limit: Option<RateLimit>,
    /// How requests are verified; none: they are not.
    pub verify: Option<SourceVerify>,
    /// Conditions that verified requests must meet.
    pub require: Conditions,
    /// Values that templates name as `{param.NAME}`.
    pub params: BTreeMap<String, String>,
    /// The networks that may send; none: all.
    pub allow_ips: Vec<IpNet>,
    /// The beginning of the URL that the provider was given, without a slash at its end.
    pub public_url: Option<String>,
    /// Headers that hold a secret of this hop: they are neither stored nor sent on.
    pub secret_headers: Vec<String>,
    /// Fields of the query that hold a secret of this hop.
    pub secret_query_fields: Vec<String>,
}

impl Config {
    /// Applies every default. The configuration need not be checked: commands on the database
    /// resolve it, too.
    pub fn resolve(&self) -> Resolved {
        let level = self.level();
        let proxy = self.delivery_proxy();
        let policy = |to: Option<&Destination>| {
            let network = self.network_policy(to, proxy.as_ref());
            Arc::new(self.destination_policy(to, level, network))
        };
        let destinations = self.destinations.iter();
        let sources = self.sources.iter();
        Resolved {
            server: self.server.clone(),
            admin: self.admin.clone(),
            database: self.database.clone(),
            node: self.node.clone(),
            api: self.api.clone(),
            delivery: DeliveryPolicy {
                level,
                workers: self.delivery.workers,
                timeout: self.delivery.timeout,
                connect_timeout: self.delivery.time_to_connect(),
                allow_networks: self.delivery.allow_networks.clone(),
                proxy: self.delivery_proxy(),
                simulated: self.delivery.simulated.clone(),
            },
            retention: self.retention.clone(),
            destinations: destinations
                .map(|(name, to)| (name.clone(), policy(Some(to))))
                .collect(),
            adhoc: policy(None),
            sources: sources
                .map(|(name, source)| (name.clone(), Arc::new(self.source_policy(source))))
                .collect(),
            alerts: self.alert_policy(),
            backup: self.backup.clone(),
            longest_wait: self.longest_wait(),
            longest_window: self.longest_window(),
        }
    }

    fn alert_policy(&self) -> Option<AlertPolicy> {
        let alerts = self.alerts.as_ref()?;
        let heartbeat = alerts.heartbeat.as_ref().and_then(|heartbeat| {
            Some(HeartbeatPolicy {
                // None for commands, which resolve no secrets.
                url: heartbeat.url.clone()?,
                every: heartbeat.every,
            })
        });
        Some(AlertPolicy {
            destination: alerts.destination.clone(),
            format: alerts.format,
            heartbeat,
        })
    }

    /// The policy of a named destination, or of all others.
    fn destination_policy(
        &self,
        to: Option<&Destination>,
        level: Level,
        network: NetworkPolicy,
    ) -> DestinationPolicy {
        let defaults = &self.delivery.defaults;
        let retry = self.full_retry(to);
        let breaker = BreakerSettings::resolve(to.map(|to| &to.breaker), &defaults.breaker);
        DestinationPolicy {
            url: to.map(|to| to.url.clone()),
            secrets: to.map(|to| to.secrets.clone()).unwrap_or_default(),
            headers: to.map(|to| to.headers.clone()).unwrap_or_default(),
            timeout: to
                .and_then(|to| to.timeout)
                .unwrap_or(self.delivery.timeout),
            rate_limit: to.and_then(|to| to.rate_limit).or(defaults.rate_limit),
            concurrency: to
                .and_then(|to| to.concurrency)
                .or(defaults.concurrency)
                .unwrap_or(Defaults::CONCURRENCY),
            transient_statuses: to
                .map(|to| to.transient_statuses.clone())
                .unwrap_or_default(),
            permanent_statuses: to
                .map(|to| to.permanent_statuses.clone())
                .unwrap_or_default(),
            retry: RetryPlan::of(level).apply(&retry).into_owned(),
            breaker: breaker.filter(|_| level == Level::Durable),
            order: to.and_then(|to| to.ordering.as_ref()?.resolve()),
            network,
        }
    }

    pub(super) fn source_window(&self, source: &Source) -> Duration {
        source
            .idempotency_window
            .unwrap_or(self.api.idempotency_window)
    }

    /// The orders of a source's destinations and of no others, so that another destination's order
    /// changes no source.
    fn orders(&self, source: &Source) -> BTreeMap<String, OrderBy> {
        let routed = source.routes.iter().flat_map(|route| &route.to);
        let names = source.destinations.iter().chain(routed);
        let orders = names.filter_map(|name| {
            let order = self.destinations.get(name)?.ordering.as_ref()?.resolve()?;
            Some((name.clone(), order.by))
        });
        orders.collect()
    }

    fn source_policy(&self, source: &Source) -> SourcePolicy {
        let public_url = source.public_url.as_ref();
        let public_url = public_url.or(self.server.public_url.as_ref());
        let destinations: Arc<[String]> = source.destinations.as_slice().into();
        let routes = Some(&source.routes).filter(|routes| !routes.is_empty());
        SourcePolicy {
            routes: routes.map(|routes| RouteTable::new(Arc::clone(&destinations), routes)),
            destinations,
            orders: self.orders(source),
            idempotency: source.idempotency.clone(),
            idempotency_window: self.source_window(source),
            on_redelivery: source.on_redelivery,
            event_type: source.event_type.clone(),
            answer: source.answer.clone(),
            handshakes: source.handshakes.clone(),
            hub_tokens: source.hub_tokens.clone(),
            hub_topics: source.hub_topics.clone(),
            origins: source.origins.clone(),
            forward_query: source.kept_query(),
            decode: source.decode,
            max_body_bytes: source.max_body_bytes(),
            accept_any_content: source.accept_any_content,
            forward_authorization: source.forward_authorization,
            rate_limit: source.rate_limit,
            verify: source.resolve_verify(),
            require: source.require.clone(),
            params: source.params.clone(),
            allow_ips: source.allow_ips.clone(),
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            secret_headers: source.secret_headers(),
            secret_query_fields: source.secret_query_fields(),
        }
    }

    /// The schedule at level durable.
    fn full_retry(&self, to: Option<&Destination>) -> Retry {
        RetrySettings::resolve(to.map(|to| &to.retry), &self.delivery.defaults.retry)
    }

    fn longest_window(&self) -> Duration {
        let sources = self.sources.values();
        sources
            .map(|source| self.source_window(source))
            .fold(self.api.idempotency_window, Duration::max)
    }

    fn longest_wait(&self) -> Duration {
        let named = self.destinations.values().map(Some);
        named
            .chain([None])
            .map(|to| self.full_retry(to))
            .filter_map(|retry| {
                let wait = retry.schedule.into_iter().max()?;
                let jitter = Duration::try_from_secs_f64(wait.as_secs_f64() * retry.jitter);
                Some(wait.saturating_add(jitter.unwrap_or_default()))
            })
            .fold(Retry::MAX_RETRY_AFTER, Duration::max)
    }
}

impl Resolved {
    /// The level that runs.
    pub fn level(&self) -> Level {
        self.delivery.level
    }

    /// The policy of the destination that is stored under `name`.
    pub fn destination(&self, name: &str) -> &Arc<DestinationPolicy> {
        self.destinations.get(name).unwrap_or(&self.adhoc)
    }

    /// The policy of ad hoc origins.
    pub fn adhoc(&self) -> &Arc<DestinationPolicy> {
        &self.adhoc
    }

    /// Whether a delivery to the destination that is stored under `name` can be attempted: it is
    /// configured, or it is an ad hoc origin, whose deliveries carry their own URL.
    pub fn is_deliverable(&self, name: &str) -> bool {
        self.destinations.contains_key(name) || name.contains("://")
    }

    /// The policy of a source: its own, or the catch-all's. The source of alerts is nobody's.
    pub fn source(&self, name: &str) -> Option<&Arc<SourcePolicy>> {
        self.sources.get(name).or_else(|| {
            let is_reserved = self.alerts.is_some() && name == ALERT_SOURCE;
            self.sources.get("*").filter(|_| !is_reserved)
        })
    }

    /// The sources that are counted apart: the declared ones, and that of alerts.
    pub fn counted_sources(&self) -> impl Iterator<Item = &str> {
        let alerts = self.alerts.as_ref().map(|_| ALERT_SOURCE);
        self.sources.keys().map(String::as_str).chain(alerts)
    }

    /// The destinations that are counted apart.
    pub fn counted_destinations(&self) -> impl Iterator<Item = &str> {
        self.destinations.keys().map(String::as_str)
    }

    /// The URLs that providers were given, up to their paths.
    pub fn public_urls(&self) -> impl Iterator<Item = &str> {
        let sources = self.sources.values();
        let of_sources = sources.filter_map(|source| source.public_url.as_deref());
        self.server
            .public_url
            .as_deref()
            .into_iter()
            .chain(of_sources)
    }

    /// The label of a source in logs and metrics: `*` for a name that a sender made up.
    pub fn source_label<'a>(&self, name: &'a str) -> &'a str {
        if self.sources.contains_key(name) {
            name
        } else {
            "*"
        }
    }

    /// The longest time for which a delivery may wait for its next attempt, at any level: the level
    /// may have been a higher one before this start.
    pub fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    /// The longest time for which an idempotency key names its first request.
    pub fn longest_window(&self) -> Duration {
        self.longest_window
    }

    /// The addresses that deliveries may reach, given the relay's own listeners.
    pub fn address_policy(&self, own_listeners: Vec<SocketAddr>) -> AddressPolicy {
        AddressPolicy {
            allow_networks: self.delivery.allow_networks.clone(),
            own_listeners,
        }
    }
}

impl SourcePolicy {
    /// Whether a handshake brings the source secrets.
    pub fn learns_secrets(&self) -> bool {
        self.handshakes
            .contains(&Handshake::Named(HandshakeName::Asana))
    }
}

impl DestinationPolicy {
    /// The fate of a key's later deliveries once one is dead-lettered; none without an order.
    pub fn on_dead(&self) -> Option<OnDead> {
        self.order.as_ref().map(|order| order.on_dead)
    }

    /// Whether the destination has a section of its own.
    pub fn is_configured(&self) -> bool {
        self.url.is_some()
    }
}
