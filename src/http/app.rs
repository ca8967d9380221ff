//! The parts that routes work with.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Resolved;
use crate::http::admin::AdminAccess;
use crate::http::admission::{ApiKeys, LearnedSecrets, SourceGates};
use crate::http::offload::Offload;
use crate::http::own_authorities::OwnAuthorities;
use crate::model::{AddressPolicy, FetchCertificate};
use crate::ops::metrics::Metrics;
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
    pub(super) source_gates: SourceGates,
    pub(super) offload: Offload,
    pub(super) learned_secrets: Arc<LearnedSecrets>,
}

impl App {
    /// `own_listeners` are the addresses that this process listens at. `fetch_certificate` fetches
    /// certificates of providers.
    pub fn new(
        config: Arc<Resolved>,
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        own_listeners: Vec<SocketAddr>,
        fetch_certificate: FetchCertificate,
        learned_secrets: Arc<LearnedSecrets>,
    ) -> Self {
        Self {
            own_authorities: OwnAuthorities::new(config.public_urls(), own_listeners.clone()),
            addresses: config.address_policy(own_listeners),
            api_keys: ApiKeys::new(&config.api, &clock),
            source_gates: SourceGates::new(
                &config,
                &clock,
                &metrics,
                fetch_certificate,
                &learned_secrets,
            ),
            admin_access: AdminAccess::new(&config.admin),
            offload: Offload::new(),
            learned_secrets,
            config,
            store,
            clock,
            metrics,
        }
    }

    /// Forgets token buckets that are full again, and folds histograms. Called every few seconds.
    pub fn upkeep(&self) {
        self.source_gates.forget_full_buckets();
        self.metrics.upkeep();
    }
}
