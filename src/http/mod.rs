//! The ingress: both contracts, on hyper. It parses, checks, and sends operations to the store; it
//! knows nothing about how deliveries are made.
//!
//! - `server/`: accepts connections, bounds and serves them.
//! - `router`: which path and method leads where. `routes/`: the routes of the public contract.
//! - `admission/`: API keys, rate limits, signatures.
//! - `admin/`: the operator's listener.
//! - `request_context`, `body`, `api_error`: shared by all routes.
//! - `raw_object`: JSON objects as they were sent. `offload`: work on large bodies.

mod admin;
mod admission;
mod api_error;
mod body;
mod offload;
mod raw_object;
mod request_context;
mod router;
mod routes;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;

use crate::clock::Clock;
use crate::config::Config;
use crate::model::AddressPolicy;
use crate::ops::metrics::Metrics;
use crate::store::Store;

pub(crate) use server::accept::{Limits, serve};
pub(crate) use server::event_loops::{self, Loops};

pub(crate) type Request = hyper::Request<body::Body>;
type Response = hyper::Response<Bytes>;

/// What the routes work with.
pub(crate) struct App {
    config: Arc<Config>,
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    addresses: AddressPolicy,
    ingress: admission::source_gates::Ingress,
    offload: offload::Offload,
}

impl App {
    /// `own_listeners` are the addresses that we listen at.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        own_listeners: Vec<SocketAddr>,
    ) -> Self {
        Self {
            addresses: config.address_policy(own_listeners),
            ingress: admission::source_gates::Ingress::new(&config, &clock),
            offload: offload::Offload::new(),
            config,
            store,
            clock,
            metrics,
        }
    }

    /// Answers a request of the public listener.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        router::answer(&self, request).await
    }

    /// Answers what can't be made a request of, on either listener; `start` is how it starts.
    pub fn refuse(&self, status: StatusCode, start: &[u8]) -> Response {
        router::refuse(self, status, start)
    }

    /// Answers a request of the operator's listener.
    pub async fn answer_admin(self: Arc<Self>, request: Request) -> Response {
        admin::answer(&self, &request).await
    }

    /// What wants doing now and then: forgets token buckets that are full again, folds histograms.
    pub fn tidy(&self) {
        self.ingress.forget_full_buckets();
        self.metrics.upkeep();
    }
}
