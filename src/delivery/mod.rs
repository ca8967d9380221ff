//! The executor: claims due deliveries, attempts them on blocking threads, settles the outcomes.
//!
//! - Contracts, which know no other file but each other: `attempt`, `target`, `lane`, `turn`,
//!   `outcome` (data and pure decisions); `transport`, `admission` (what a level implements);
//!   `context`.
//! - `dispatcher`: one thread, one tick at a time ([`dispatcher::Dispatcher::tick`]).
//!   `fair_share`: how workers are shared out. `outage_log`: the log lines about destinations.
//! - `pool`, `worker`: a fixed number of threads, each making one attempt; nothing sleeps in a
//!   worker. `wake`: how they and the writer wake the dispatcher.
//! - `measure`: a tick without the disk, for the benchmark `claim`.
//! - `ping`: tests of destinations.
//! - `levels`: a transport and an admission for each level. All feature gates stand there.
//!
//! The executor knows nothing of `http`: it finds its work in the store.

#[allow(dead_code, reason = "levels below durable limit nothing")]
mod admission;
mod attempt;
mod context;
mod dispatcher;
mod fair_share;
mod lane;
mod levels;
pub mod measure;
mod outage_log;
mod outcome;
mod ping;
mod pool;
mod target;
#[cfg(test)]
mod tests;
mod transport;
mod turn;
mod wake;
mod worker;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use context::Context;
pub(crate) use transport::Prepared;
pub(crate) use wake::Wake;

use crate::clock::Clock;
use crate::config::{Live, Resolved};
use crate::model::{FetchCertificate, SendHeartbeat, SendPing};
use crate::ops::examination::{Examination, Examined};
use crate::stop::Ending;
use dispatcher::Dispatcher;
use pool::Pool;
use transport::Transport;

/// A running executor, or one that has ended already if the level is off.
pub(crate) struct Executor {
    /// The end of claims, settlements and releases.
    pub dispatcher: Ending,
    /// The end of all attempts. A worker that connects or resolves a name can't be cut short, and
    /// ends after its timeout; its delivery has been released by then.
    pub workers: Ending,
    pub reload: Reload,
    pub ping: SendPing,
}

/// The executor's part of a reload.
pub(crate) struct Reload {
    /// None if the level is off.
    transport: Option<Arc<dyn Transport>>,
    wake: Wake,
}

impl Reload {
    /// Prepares for another configuration. An error names a file that can't be used.
    pub fn prepare(&self, config: &Arc<Resolved>) -> std::io::Result<Prepared> {
        let transport = self.transport.as_ref();
        transport.map_or_else(|| Ok(Prepared::default()), |one| one.prepare(config))
    }

    /// Has the dispatcher adopt the configuration that runs by now.
    pub fn adopt(&self) {
        self.wake.wake();
    }
}

/// Starts the executor of the configured level.
pub(crate) fn start(context: Context) -> std::io::Result<Executor> {
    let level = context.config.current().level();
    match levels::assemble(level, &context)? {
        Some(parts) => run(context, parts),
        None => Ok(Executor {
            dispatcher: Ending::already(),
            workers: Ending::already(),
            reload: Reload {
                transport: None,
                wake: context.wake,
            },
            ping: ping::pinger(None, context.config, context.clock),
        }),
    }
}

/// Finds files that the configuration names and that can't be used, without a start. An error is a
/// key and its problem.
pub(crate) fn check(config: &Resolved) -> Result<(), (String, String)> {
    levels::check(config)
}

/// Fetches certificates of providers, for the sources whose requests they sign.
pub(crate) fn fetch_certificate(context: &Context) -> FetchCertificate {
    levels::fetch_certificate(context)
}

/// A server of a test that serves certificates in place of providers.
#[cfg(test)]
pub(crate) struct CertificateServer {
    /// The hosts that it stands for.
    pub hosts: &'static [&'static str],
    pub address: std::net::SocketAddr,
    /// The authority that signs its own certificate, in PEM.
    pub authority: String,
    /// The time for a fetch.
    pub timeout: std::time::Duration,
}

/// As [`fetch_certificate`], from a server of a test.
#[cfg(test)]
pub(crate) fn fetch_certificate_from(
    context: &Context,
    server: &CertificateServer,
) -> FetchCertificate {
    levels::fetch_certificate_from(context, server)
}

/// Sends heartbeats; none if nobody is contacted.
pub(crate) fn heartbeat_sender(context: &Context) -> Option<SendHeartbeat> {
    levels::heartbeat_sender(context)
}

/// Examines a destination without sending it an event; none in a build that contacts nobody. Blocks
/// for `timeout` at most.
pub(crate) fn examine(
    config: &Arc<Resolved>,
    subject: &Examined,
    timeout: Duration,
    clock: &Arc<dyn Clock>,
) -> Option<Examination> {
    levels::examine(config, subject, timeout, clock)
}

/// Tests destinations of a configuration without a server that runs it. `own_listeners` are the
/// addresses that its server listens at. An error is a file that the configuration names and that
/// can't be used.
#[allow(dead_code, reason = "only commands test destinations without a server")]
pub(crate) fn pinger(
    config: &Arc<Resolved>,
    clock: &Arc<dyn Clock>,
    own_listeners: &[SocketAddr],
) -> std::io::Result<SendPing> {
    let transport = levels::transport_of_command(config, clock, own_listeners)?;
    let live = Live::new(Arc::clone(config));
    Ok(ping::pinger(transport, live, Arc::clone(clock)))
}

/// Runs a level's parts on threads of their own.
fn run(context: Context, parts: levels::LevelParts) -> std::io::Result<Executor> {
    let fatal = context.fatal.clone();
    let wake = context.wake.clone();
    context.clock.on_jump(Box::new(move || wake.wake()));
    let wake = context.wake.clone();
    context.stop.on_ask(move || wake.wake());
    let reload = Reload {
        transport: Some(Arc::clone(&parts.transport)),
        wake: context.wake.clone(),
    };
    let (config, clock) = (context.config.clone(), Arc::clone(&context.clock));
    let ping = ping::pinger(Some(Arc::clone(&parts.transport)), config, clock);
    let pool = Pool::start(&context, &parts.transport)?;
    let workers = pool.ended();
    let mut dispatcher = Dispatcher::new(context, parts, pool);
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-dispatcher".to_owned());
    running.spawn(thread, move || {
        if catch_unwind(AssertUnwindSafe(|| dispatcher.run())).is_err() {
            fatal.raise("the dispatcher panicked");
        }
    })?;
    Ok(Executor {
        dispatcher: ended,
        workers,
        reload,
        ping,
    })
}
