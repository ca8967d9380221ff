//! A running relay: the only part that knows every other part.
//!
//! - `start`: the wiring. Binds, opens the database, starts the agents, serves. `listeners`: the
//!   bound addresses. `serving`: the tasks of the accepting thread; `spawner` runs them.
//! - `reload`: takes another configuration over. `certificates`: those of the listeners. `demand`:
//!   the users of file descriptors. `pulses`: the signs of life, for a watchdog.
//! - `ORDER`: the table of the stop. `agents`: the agents that it stops.
//! - `error`: the reasons why a relay can't start, fails, or doesn't stop in order.

mod agents;
mod certificates;
mod demand;
mod error;
mod listeners;
mod pulses;
mod reload;
mod serving;
mod spawner;
mod start;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agents::Agents;
use certificates::Prepared;
pub(crate) use certificates::{check as check_certificates, problems as certificate_problems};
pub use error::{RelayError, ReloadError, StartError};
pub(crate) use listeners::Sockets;
pub(crate) use pulses::Pulses;
pub(crate) use reload::{ConfigOrigin, Reloader};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::delivery;
use crate::http::EventLoops;
use crate::model::{FetchCertificate, IntentId};
use crate::stop::{self, Asked, Step, Wait, stop_in_order};
use crate::store::Store;

/// A running relay. Dropping it stops it as [`Relay::stop`] does.
///
/// Its methods may be called from asynchronous code; those that block say so.
pub struct Relay {
    /// Dropped first: the stop needs the store and the HTTP threads.
    agents: Agents,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    store: Store,
    event_loops: EventLoops,
    reloader: Reloader,
}

/// Does work that blocks, on a thread without a runtime: within one no connection of an engine may
/// wait for its own.
fn outside_runtimes<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    let joined = std::thread::scope(|scope| scope.spawn(work).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Relay {
    /// Starts with the system's clock. Returns once it listens. Blocks while the database is
    /// opened: some ten milliseconds, or longer if an older one is migrated.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock::new()))
    }

    /// Starts with the caller's clock. Blocks as [`Relay::start`] does.
    ///
    /// # Panics
    ///
    /// Only because of a bug.
    pub fn start_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_fetching(config, clock, delivery::fetch_certificate)
    }

    /// As [`Relay::start_with_clock`]. `fetch` makes what fetches certificates of providers.
    fn start_fetching(
        config: Config,
        clock: Arc<dyn Clock>,
        fetch: impl FnOnce(&delivery::Context) -> FetchCertificate + Send,
    ) -> Result<Self, StartError> {
        config.check()?;
        let origin = ConfigOrigin::program();
        Self::start_checked(config, origin, Sockets::default(), clock, fetch)
    }

    /// Starts with the configuration of a file, which is checked already and can be reloaded.
    pub(crate) fn start_from(
        config: Config,
        origin: ConfigOrigin,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let clock = Arc::new(SystemClock::new());
        Self::start_checked(config, origin, sockets, clock, delivery::fetch_certificate)
    }

    fn start_checked(
        config: Config,
        origin: ConfigOrigin,
        sockets: Sockets,
        clock: Arc<dyn Clock>,
        fetch: impl FnOnce(&delivery::Context) -> FetchCertificate + Send,
    ) -> Result<Self, StartError> {
        outside_runtimes(|| Self::start_here(config, origin, sockets, clock, fetch))
    }

    fn start_here(
        config: Config,
        origin: ConfigOrigin,
        sockets: Sockets,
        clock: Arc<dyn Clock>,
        fetch: impl FnOnce(&delivery::Context) -> FetchCertificate,
    ) -> Result<Self, StartError> {
        let resolved = Arc::new(config.resolve());
        let prepared =
            Prepared::read(&resolved).map_err(|problem| Config::refused(origin.path(), problem))?;
        let started = start::start(resolved, prepared, sockets, clock, fetch)?;
        Ok(Self {
            agents: started.agents,
            address: started.address,
            admin_address: started.admin_address,
            store: started.store,
            event_loops: started.event_loops,
            reloader: Reloader::new(started.parts, config, origin),
        })
    }

    /// The address of the public listener; with port 0 configured, the system chose the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the public listener speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.reloader.certificates().server().is_some()
    }

    /// The address of the operator's listener, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Sends the dead letters of a relay or an event once more, each with a fresh budget of
    /// attempts. Returns their number. Blocks until that is durable.
    pub fn replay(&self, id: &str) -> Result<usize, RelayError> {
        let id: IntentId = id.parse()?;
        Ok(outside_runtimes(|| self.store.replay(id))?)
    }

    /// Replaces the configuration that runs, as a whole: requests and attempts that have begun
    /// finish under the one before. Connections, token buckets, circuit breakers, pauses and
    /// everything accepted go on. An error changes nothing; a setting that only a start can change
    /// is one. Blocks while files are read and the dispatcher is told.
    ///
    /// ```
    /// # use relay::{Config, Relay};
    /// # fn double_the_limit(relay: &Relay, mut config: Config)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// config.api.rate_limit.post.per_second *= 2.0;
    /// relay.reload(config)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        outside_runtimes(|| self.reloader.reload(config))
    }

    /// Reloads the file that the relay was started with.
    pub(crate) fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// The signs of life of its loops.
    pub(crate) fn pulses(&self) -> Pulses {
        self.reloader.pulses()
    }

    /// Whether no part has failed. After a fatal error the relay accepts and delivers nothing more:
    /// [`Relay::stop`] it, and start again.
    pub fn is_running(&self) -> bool {
        self.failed().is_none()
    }

    /// The fatal error, if there was one, in one line.
    pub fn failed(&self) -> Option<String> {
        self.agents.fatal.get()
    }

    /// Resolves with the fatal error once there is one. The future borrows nothing and needs no
    /// runtime of its own, so an asynchronous program can await it beside its own reasons to stop:
    ///
    /// ```
    /// # use relay::{Config, Relay};
    /// # async fn serve(
    /// #     config: Config,
    /// #     asked: impl Future<Output = ()>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let relay = Relay::start(config)?;
    /// tokio::select! {
    ///     () = asked => {}
    ///     error = relay.failure() => eprintln!("{error}"),
    /// }
    /// tokio::task::spawn_blocking(|| relay.stop()).await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn failure(&self) -> impl Future<Output = RelayError> + Send + 'static {
        let fatal = self.agents.fatal.clone();
        async move { RelayError::Fatal(fatal.raised().await) }
    }

    /// Blocks until `asked` resolves or a part fails. `asked` is polled on this thread; tokio's
    /// timers, sockets and signals in it are driven by this relay's runtime.
    ///
    /// Asynchronous code awaits [`Relay::failure`] instead: this call would keep its thread from
    /// the other tasks, and wait for ever if `asked` is one of them.
    pub fn wait(&self, asked: impl Future<Output = ()>) -> Result<(), RelayError> {
        let _entered = self.event_loops.accepting().enter();
        stop::block_on(async {
            tokio::select! {
                () = asked => Ok(()),
                error = self.failure() => Err(error),
            }
        })
    }

    /// Stops in order: no more connections and claims, requests drained, attempts finished or
    /// released, the writer last, a checkpoint. Requests and attempts share
    /// `server.shutdown_grace`, or one second after a fatal error.
    ///
    /// Blocks until then, and for at most six seconds more. [`RelayError::Stuck`] names the parts
    /// that have not ended by then: they are left alone, and the database stays locked until its
    /// writer ends. After a fatal error that error is returned.
    pub fn stop(mut self) -> Result<(), RelayError> {
        self.agents.stop()
    }
}

/// The time after the grace in which the last outcomes are recorded: two or three commits, each of
/// some milliseconds on a healthy disk.
const OVERTIME: Duration = Duration::from_secs(2);
/// The time after the grace in which the writer commits its queue and makes a checkpoint, of 64 MiB
/// at most. With the default grace of 10 s the sum is 15 s, and a supervisor kills after 30 s
/// (Kubernetes) or 90 s (systemd).
const WRITER_OVERTIME: Duration = Duration::from_secs(5);
/// The time for threads whose only remaining work is to give up reads, which takes 200 ms at most.
const THREAD_WAIT: Duration = Duration::from_millis(500);
/// The longest grace after a fatal error: nothing can be recorded any more, or it is unknown what
/// can, and a supervisor waits to start again.
const FATAL_GRACE: Duration = Duration::from_secs(1);

const DISPATCHER: &str = "delivery dispatcher";

/// The order of the stop. An agent that exceeds its wait is given up: the next start recovers, as
/// it does after a crash.
const ORDER: [Step<Agents>; 8] = [
    Step {
        name: "requests",
        agent: |agents| &agents.requests,
        asked: Asked::AtOnce,
        wait: Wait::AfterGrace(OVERTIME),
    },
    Step {
        name: DISPATCHER,
        agent: |agents| &agents.dispatcher,
        asked: Asked::AtOnce,
        wait: Wait::AfterGrace(OVERTIME),
    },
    // After those that it counts: it writes the rollups of the last seconds.
    Step {
        name: "maintenance",
        agent: |agents| &agents.maintenance,
        asked: Asked::InTurn,
        wait: Wait::AfterGrace(OVERTIME),
    },
    Step {
        name: "database writer",
        agent: |agents| &agents.writer,
        asked: Asked::InTurn,
        wait: Wait::AfterGrace(WRITER_OVERTIME),
    },
    Step {
        name: "HTTP threads",
        agent: |agents| &agents.http_threads,
        asked: Asked::InTurn,
        wait: Wait::FromTurn(THREAD_WAIT),
    },
    // It has ended by then, unless it waits for its receiver.
    Step {
        name: "heartbeat",
        agent: |agents| &agents.heartbeat,
        asked: Asked::AtOnce,
        wait: Wait::Optional(Duration::ZERO),
    },
    // A try that it is in the middle of is made again after the next start.
    Step {
        name: "certificates",
        agent: |agents| &agents.acme,
        asked: Asked::AtOnce,
        wait: Wait::Optional(Duration::ZERO),
    },
    // Asked as soon as the dispatcher has released their deliveries, and waited for last: a worker
    // that connects or resolves a name can't be cut short.
    Step {
        name: "delivery workers",
        agent: |agents| &agents.workers,
        asked: Asked::After(DISPATCHER),
        wait: Wait::Optional(THREAD_WAIT),
    },
];

impl Agents {
    /// Stops the agents in [`ORDER`]. Does nothing the second time.
    pub fn stop(&mut self) -> Result<(), RelayError> {
        if std::mem::replace(&mut self.is_stopped, true) {
            return Ok(());
        }
        let grace = match self.fatal.get() {
            Some(_) => self.grace.min(FATAL_GRACE),
            None => self.grace,
        };
        let stuck = stop_in_order(&ORDER, self, grace);
        match (self.fatal.get(), stuck.is_empty()) {
            (None, true) => Ok(()),
            (None, false) => Err(RelayError::Stuck(stuck.join(", "))),
            (Some(why), true) => Err(RelayError::Fatal(why)),
            (Some(why), false) => {
                let stuck = RelayError::Stuck(stuck.join(", "));
                Err(RelayError::Fatal(format!("{why}; then {stuck}")))
            }
        }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!(error:% = error; "the stop went wrong");
        }
    }
}
