//! Assembles the levels: a transport and an admission each. All feature gates stand here.
//!
//! - `simulated`: level 1, which answers itself. `http`: level 2's transport. `durable`: level 3's
//!   signatures and limits. `local`: whether an address is this machine's own.

mod local;
mod simulated;

#[cfg(feature = "delivery-durable")]
mod durable;
#[cfg(feature = "delivery-http")]
mod http;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Resolved;
use crate::delivery::admission::{Admission, Unlimited};
use crate::delivery::context::Context;
use crate::delivery::transport::Transport;
use crate::model::{FetchCertificate, Level, SendHeartbeat};
use crate::ops::examination::{Examination, Examined};

/// The parts of the executor that differ by level.
pub(super) struct LevelParts {
    pub transport: Arc<dyn Transport>,
    pub admission: Box<dyn Admission>,
}

/// Fetches certificates of providers. A build without HTTP contacts nobody, and its configuration
/// names none.
pub(super) fn fetch_certificate(context: &Context) -> FetchCertificate {
    #[cfg(feature = "delivery-http")]
    let fetch = http::fetcher(context);
    #[cfg(not(feature = "delivery-http"))]
    let fetch: FetchCertificate = {
        let _ = context;
        Arc::new(|_| None)
    };
    fetch
}

/// As [`fetch_certificate`], from a server of a test.
#[cfg(test)]
pub(super) fn fetch_certificate_from(
    context: &Context,
    server: &crate::delivery::CertificateServer,
) -> FetchCertificate {
    #[cfg(feature = "delivery-http")]
    let fetch = http::fetcher_from(context, server);
    #[cfg(not(feature = "delivery-http"))]
    let fetch: FetchCertificate = {
        let crate::delivery::CertificateServer {
            hosts,
            address,
            authority,
            timeout,
        } = server;
        let _ = (context, hosts, address, authority, timeout);
        Arc::new(|_| None)
    };
    fetch
}

/// Finds files of the configuration that can't be used, as far as its level uses them. An error is
/// a key and its problem.
#[allow(
    clippy::unnecessary_wraps,
    reason = "in a build without HTTP there is no such file"
)]
pub(super) fn check(config: &Resolved) -> Result<(), (String, String)> {
    match config.level() {
        #[cfg(feature = "delivery-http")]
        Level::Http | Level::Durable => http::check(config),
        _ => Ok(()),
    }
}

/// Sends heartbeats; none if this build, or the level that runs, contacts nobody.
pub(super) fn heartbeat_sender(context: &Context) -> Option<SendHeartbeat> {
    #[cfg(feature = "delivery-http")]
    if context.config.current().level() >= Level::Http {
        return Some(http::sender(context));
    }
    let _ = context;
    None
}

/// Examines a destination; none in a build without HTTP. Blocks for `timeout` at most.
pub(super) fn examine(
    config: &Arc<Resolved>,
    subject: &Examined,
    timeout: Duration,
    clock: &Arc<dyn Clock>,
) -> Option<Examination> {
    #[cfg(feature = "delivery-http")]
    let examined = Some(http::examine(config, subject, timeout, clock));
    #[cfg(not(feature = "delivery-http"))]
    let examined = {
        let _ = (config, subject, timeout, clock);
        None
    };
    examined
}

/// A transport for a command, which contacts destinations without a server; none if this build, or
/// the configured level, contacts nobody. An error is a file that can't be used.
#[allow(
    clippy::unnecessary_wraps,
    reason = "in a build without HTTP there is no such file"
)]
pub(super) fn transport_of_command(
    config: &Arc<Resolved>,
    clock: &Arc<dyn Clock>,
    own_listeners: &[SocketAddr],
) -> std::io::Result<Option<Arc<dyn Transport>>> {
    let _ = (clock, own_listeners);
    Ok(match config.level() {
        #[cfg(feature = "delivery-http")]
        Level::Http => {
            let http = http::Http::of_command(config, clock, own_listeners, None)?;
            Some(Arc::new(http))
        }
        #[cfg(feature = "delivery-durable")]
        Level::Durable => {
            let durable = Some(durable::sign as http::Sign);
            let http = http::Http::of_command(config, clock, own_listeners, durable)?;
            Some(Arc::new(http))
        }
        _ => None,
    })
}

/// Assembles a level; none if nothing is to run. A level that isn't compiled in was refused with
/// the configuration. An error is a file that the configuration names and that can't be used.
#[allow(
    clippy::unnecessary_wraps,
    reason = "in a build without HTTP there is no such file"
)]
pub(super) fn assemble(level: Level, context: &Context) -> std::io::Result<Option<LevelParts>> {
    Ok(match level {
        Level::Simulated => Some(LevelParts {
            transport: Arc::new(simulated::Simulated::new(context)),
            admission: Box::new(Unlimited),
        }),
        #[cfg(feature = "delivery-http")]
        Level::Http => Some(LevelParts {
            transport: Arc::new(http::Http::new(context, None)?),
            admission: Box::new(Unlimited),
        }),
        #[cfg(feature = "delivery-durable")]
        Level::Durable => Some(LevelParts {
            transport: Arc::new(http::Http::new(context, Some(durable::sign))?),
            admission: Box::new(durable::PerDestination::new(&context.config.current())),
        }),
        _ => None,
    })
}
