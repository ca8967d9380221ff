//! The parts that routes work with.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Resolved;
use crate::http::admin::{AdminAccess, Pings, Results, Tails};
use crate::http::admission::{ApiKeys, LearnedSecrets, SourceGates};
use crate::http::offload::Offload;
use crate::http::own_authorities::OwnAuthorities;
use crate::http::reload_file::ReloadFile;
use crate::http::server::{ListenerLimits, ListenerTls};
use crate::model::{AddressPolicy, FetchCertificate, SendPing};
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::Store;

/// Shared by all requests of both listeners under one configuration. Their entry points are
/// [`App::answer`] in `router` and [`App::answer_admin`] in `admin`.
pub(crate) struct App {
    pub(super) config: Arc<Resolved>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    /// Checked for URLs that hold a literal address; names are checked when they are resolved.
    pub(super) addresses: AddressPolicy,
    pub(super) own_authorities: OwnAuthorities,
    pub(super) api_keys: ApiKeys,
    pub(super) admin_access: AdminAccess,
    /// Of the console's forms.
    pub(super) form_results: Arc<Results>,
    pub(super) source_gates: SourceGates,
    pub(super) offload: Arc<Offload>,
    pub(super) learned_secrets: Arc<LearnedSecrets>,
    pub(super) reload_file: ReloadFile,
    pub(super) pings: Pings,
    pub(super) tails: Tails,
    /// That of the public listener, if it has any.
    pub(super) tls: Option<ListenerTls>,
    own_listeners: Vec<SocketAddr>,
}

/// The parts of a relay that an app works with, whatever the configuration.
pub(crate) struct AppContext {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// The addresses that this process listens at: the public one first, then the operator's.
    pub own_listeners: Vec<SocketAddr>,
    /// Fetches certificates of providers.
    pub fetch_certificate: FetchCertificate,
    /// Tests destinations.
    pub ping: SendPing,
    pub learned_secrets: Arc<LearnedSecrets>,
    /// Asks the listeners to end.
    pub stop: Stop,
    /// That of the public listener, if it has any.
    pub tls: Option<ListenerTls>,
}

impl App {
    pub fn new(config: Arc<Resolved>, context: AppContext) -> Self {
        let AppContext {
            store,
            clock,
            metrics,
            own_listeners,
            fetch_certificate,
            ping,
            learned_secrets,
            stop,
            tls,
        } = context;
        let admin_port = own_listeners.get(1).map_or(0, SocketAddr::port);
        let admin_access = AdminAccess::new(&config.admin, admin_port, Arc::clone(&clock));
        Self {
            own_authorities: OwnAuthorities::new(config.public_urls(), own_listeners.clone()),
            addresses: config.address_policy(own_listeners.clone()),
            api_keys: ApiKeys::new(&config.api, &clock),
            source_gates: SourceGates::new(
                &config,
                &clock,
                &metrics,
                fetch_certificate,
                &learned_secrets,
            ),
            form_results: Arc::default(),
            offload: Arc::new(Offload::new()),
            learned_secrets,
            reload_file: ReloadFile::default(),
            pings: Pings::new(ping),
            tails: Tails::new(stop, &admin_access),
            admin_access,
            tls,
            own_listeners,
            config,
            store,
            clock,
            metrics,
        }
    }

    /// The app of a reload. Everything that isn't a setting goes on.
    pub(super) fn reloaded(&self, config: Arc<Resolved>) -> Self {
        let own_listeners = self.own_listeners.clone();
        let public_urls = config.public_urls();
        let admin_access = self.admin_access.reloaded(&config.admin);
        self.tails.reload(&admin_access);
        Self {
            own_authorities: OwnAuthorities::new(public_urls, own_listeners.clone()),
            addresses: config.address_policy(own_listeners.clone()),
            api_keys: self.api_keys.reloaded(&config.api, &self.clock),
            admin_access,
            form_results: Arc::clone(&self.form_results),
            source_gates: self.source_gates.reloaded(&config, &self.metrics),
            offload: Arc::clone(&self.offload),
            learned_secrets: Arc::clone(&self.learned_secrets),
            reload_file: self.reload_file.clone(),
            pings: self.pings.clone(),
            tails: self.tails.clone(),
            tls: self.tls.clone(),
            own_listeners,
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            config,
        }
    }

    /// The bounds of a listener by this configuration.
    pub(crate) fn listener_limits(&self) -> ListenerLimits {
        ListenerLimits::new(&self.config.server)
    }

    /// Forgets token buckets that are full again, folds histograms, and looks at the writer, so
    /// that a hanging disk is logged though nobody asks for readiness. Called every few seconds.
    pub fn upkeep(&self) {
        let _ = self.store.readiness();
        self.source_gates.forget_full_buckets();
        self.metrics.upkeep();
    }
}
