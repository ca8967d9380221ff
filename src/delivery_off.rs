//! The executor's stand-in in the baseline build: the same interface, and it contacts nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Live, Resolved};
use crate::model::{FetchCertificate, Level, PingError, SendHeartbeat, SendPing};
use crate::ops::examination::{Examination, Examined};
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::ops::pulse::Pulse;
use crate::stop::{Ending, Stop};
use crate::store::{DestinationId, Store};

/// Ignores deliveries that become due: this build delivers none.
#[derive(Clone)]
pub(crate) struct Wake;

impl Wake {
    pub fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the executor's wakes the dispatcher")]
    pub fn due(&self, _destinations: &[DestinationId]) {}

    #[expect(clippy::unused_self, reason = "the executor's wakes the dispatcher")]
    pub fn outside_write(&self) {}
}

/// The parts of a relay that an executor works with. This one drops them.
pub(crate) struct Context {
    pub config: Live,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub fatal: Fatal,
    pub stop: Stop,
    pub stop_workers: Stop,
    pub own_listeners: Vec<SocketAddr>,
    pub wake: Wake,
    pub pulse: Pulse,
}

/// An executor that has ended already.
pub(crate) struct Executor {
    pub dispatcher: Ending,
    pub workers: Ending,
    pub reload: Reload,
    pub ping: SendPing,
}

/// The executor's part of a reload: none.
pub(crate) struct Reload;

impl Reload {
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the executor's reads files, which can fail"
    )]
    pub fn prepare(&self, _config: &Arc<Resolved>) -> std::io::Result<Prepared> {
        Ok(Prepared {
            renewed: Vec::new(),
        })
    }

    #[expect(clippy::unused_self, reason = "the executor's wakes the dispatcher")]
    pub fn adopt(&self) {}
}

/// The executor's part of a reload, not yet in effect.
pub(crate) struct Prepared {
    pub renewed: Vec<String>,
}

impl Prepared {
    pub fn commit(self) {
        drop(self);
    }
}

/// Fetches nothing: this build contacts nobody, and its configuration names no certificate.
pub(crate) fn fetch_certificate(_context: &Context) -> FetchCertificate {
    Arc::new(|_| None)
}

/// A server of a test that serves certificates in place of providers.
#[cfg(test)]
pub(crate) struct CertificateServer {
    pub hosts: &'static [&'static str],
    pub address: SocketAddr,
    pub authority: String,
    pub timeout: std::time::Duration,
}

/// Fetches nothing.
#[cfg(test)]
pub(crate) fn fetch_certificate_from(
    context: &Context,
    server: &CertificateServer,
) -> FetchCertificate {
    let CertificateServer {
        hosts,
        address,
        authority,
        timeout,
    } = server;
    let _ = (hosts, address, authority, timeout);
    fetch_certificate(context)
}

/// Finds nothing: this build uses no certificates.
#[expect(clippy::unnecessary_wraps, reason = "the executor's can fail")]
pub(crate) fn check(_config: &Resolved) -> Result<(), (String, String)> {
    Ok(())
}

/// Sends nothing: this build contacts nobody.
pub(crate) fn heartbeat_sender(_context: &Context) -> Option<SendHeartbeat> {
    None
}

/// Examines nothing: this build contacts nobody.
pub(crate) fn examine(
    _config: &Arc<Resolved>,
    _subject: &Examined,
    _timeout: Duration,
    _clock: &Arc<dyn Clock>,
) -> Option<Examination> {
    None
}

/// Tests nothing: this build contacts nobody.
#[allow(dead_code, reason = "only commands test destinations without a server")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the executor's reads files, which can fail"
)]
pub(crate) fn pinger(
    config: &Arc<Resolved>,
    clock: &Arc<dyn Clock>,
    own_listeners: &[SocketAddr],
) -> std::io::Result<SendPing> {
    let _ = (clock, own_listeners);
    Ok(ping(Live::new(Arc::clone(config))))
}

fn ping(config: Live) -> SendPing {
    Arc::new(move |name| {
        let is_configured = config.current().destinations.contains_key(name);
        Err(if is_configured {
            PingError::ContactsNobody(Level::Off)
        } else {
            PingError::NotConfigured
        })
    })
}

/// Starts nothing.
#[expect(clippy::unnecessary_wraps, reason = "the executor's can fail")]
pub(crate) fn start(context: Context) -> std::io::Result<Executor> {
    let Context {
        config,
        store,
        clock,
        metrics,
        fatal,
        stop,
        stop_workers,
        own_listeners,
        wake,
        pulse,
    } = context;
    drop((
        store,
        clock,
        metrics,
        fatal,
        stop,
        stop_workers,
        own_listeners,
        wake,
        pulse,
    ));
    Ok(Executor {
        dispatcher: Ending::already(),
        workers: Ending::already(),
        reload: Reload,
        ping: ping(config),
    })
}
