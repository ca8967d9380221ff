//! Wiring and the ordered stop: the only file that knows every part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::delivery::{self, Executor, Wake};
use crate::http::{App, EventLoops, ListenerLimits, serve};
use crate::maintenance::{Maintenance, Worker};
use crate::model::{IntentId, InvalidId};
use crate::ops::fatal::Fatal;
use crate::ops::fd_limit;
use crate::ops::metrics::Metrics;
use crate::stop::{self, Deadline, Ending, Running};
use crate::store::{OfIntent, OpenError, Store, StoreError};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// Connections to the operator's listener: a scraper and a few curious people.
pub(crate) const ADMIN_CONNECTIONS: u32 = 16;
/// How often full token buckets are forgotten and histograms folded; between foldings each request
/// holds a few bytes.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Why a relay can't start. One line.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address can't be listened at.
    #[error("{key}: {address}: {source}; expected a free address of this machine")]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system refuses threads.
    #[error("can't start: {0}")]
    System(#[from] std::io::Error),
}

/// Why a running relay failed, or did not stop in order.
#[derive(Debug, Error)]
pub enum RelayError {
    /// A part could not go on: a disk that fails, a bug. What was acknowledged is on disk; start
    /// again.
    #[error("{0}")]
    Fatal(String),
    /// These parts did not end in time: most often a disk hangs. What was acknowledged is on disk, and
    /// the next start recovers. Until the process ends they may go on.
    #[error("the stop gave up on what did not end in time: {0}; the next start recovers")]
    Stuck(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not an id of ours.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// A running relay. Dropping it stops it as [`Relay::stop`] does.
///
/// Its methods may be called from asynchronous code; those that block say so.
pub struct Relay {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    agents: Agents,
}

impl Relay {
    /// Starts with the system's clock. Returns once it listens. Blocks for as long as opening the
    /// database takes: some ten milliseconds, or more if an older one is migrated.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock::new()))
    }

    /// Starts with a clock of the caller's. Blocks as [`Relay::start`] does.
    ///
    /// # Panics
    ///
    /// Not by itself; a panic here is a bug.
    pub fn start_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config.check()?;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new(config.level()));
        let fatal = Fatal::new();
        // An error further on drops it, which stops what has been started by then.
        let mut agents = Agents {
            stop: watch::Sender::new(None),
            grace: config.server.shutdown_grace,
            is_stopped: false,
            servers: None,
            maintenance: None,
            executor: None,
            store: None,
            loops: EventLoops::start(&fatal)?,
            fatal,
        };

        // Listeners come first: an address in use stops the start before anything is on disk.
        let entered = agents.loops.accepting().enter();
        let (listener, address) = listen("server.listen", config.server.listen)?;
        let admin = config
            .admin
            .listen
            .map(|address| listen("admin.listen", address))
            .transpose()?;
        drop(entered);
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let own_listeners: Vec<_> = [Some(address), admin_address]
            .into_iter()
            .flatten()
            .collect();

        let wake = Wake::new();
        let on_work = {
            let wake = wake.clone();
            Arc::new(move |due: &[i64]| wake.due(due))
        };
        let on_outside_write = {
            let wake = wake.clone();
            Arc::new(move || wake.outside_write())
        };
        let on_broken = {
            let fatal = agents.fatal.clone();
            Arc::new(move |why| fatal.raise(why))
        };
        let store = Store::open(
            &config.database,
            config.longest_wait(),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            on_work,
            on_outside_write,
            on_broken,
        )?;
        agents.store = Some(store.clone());
        agents.executor = Some(delivery::start(delivery::Context {
            config: Arc::clone(&config),
            store: store.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            fatal: agents.fatal.clone(),
            own_listeners: own_listeners.clone(),
            wake,
        })?);
        let worker = Worker::new(store.clone(), Arc::clone(&config), Arc::clone(&clock));
        agents.maintenance = Some(Maintenance::start(worker, agents.fatal.clone())?);

        let limits =
            ListenerLimits::new(&config.server).with_connections(fd_limit::connections(&config));
        let app = Arc::new(App::new(config, store, clock, metrics, own_listeners));
        agents.serve(listener, admin.map(|(listener, _)| listener), limits, &app);
        Ok(Self {
            address,
            admin_address,
            agents,
        })
    }

    /// Where it listens; with port 0 configured, the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operator's listener is, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Sends the dead letters of a relay or an event once more, each with a fresh budget of
    /// attempts. Returns how many there were. Blocks until that is durable.
    pub fn replay(&self, id: &str) -> Result<usize, RelayError> {
        let id: IntentId = id.parse()?;
        let store = self.agents.store.as_ref().ok_or(StoreError::Stopped)?;
        let mut replay = OfIntent::replay(id);
        store.write_steps(&mut replay)?;
        Ok(replay.done)
    }

    /// Whether no part has failed. After a fatal error nothing is accepted or delivered any more:
    /// [`Relay::stop`] it, and start again.
    pub fn is_running(&self) -> bool {
        self.failed().is_none()
    }

    /// The fatal error, if there was one, in one line.
    pub fn failed(&self) -> Option<String> {
        self.agents.fatal.get()
    }

    /// Resolves with the fatal error once there is one. It borrows nothing and needs no runtime of its
    /// own, so asynchronous programs can await it beside their own reasons to stop:
    ///
    /// ```
    /// # use relay::{Config, Relay};
    /// # async fn serve(config: Config, asked: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
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

    /// Blocks until `asked` resolves or a part fails. `asked` is polled on this thread; timers,
    /// sockets and signals of tokio's that it waits for are those of this relay's runtime.
    ///
    /// Asynchronous code awaits [`Relay::failure`] instead: here it would keep its thread from the
    /// other tasks, and wait for ever if `asked` is one of those.
    pub fn wait(&self, asked: impl Future<Output = ()>) -> Result<(), RelayError> {
        let _entered = self.agents.loops.accepting().enter();
        stop::block_on(async {
            tokio::select! {
                () = asked => Ok(()),
                error = self.failure() => Err(error),
            }
        })
    }

    /// Stops in order: no more connections, no more claims, requests drained, attempts finished or
    /// handed back, the writer last, a checkpoint. Requests and attempts have `server.shutdown_grace`
    /// together, or one second after a fatal error.
    ///
    /// Blocks until then, and for at most six seconds more. [`RelayError::Stuck`] names the parts
    /// that have not ended by then: they are left alone, and the database stays locked until its writer
    /// ends. After a fatal error that is returned.
    pub fn stop(mut self) -> Result<(), RelayError> {
        self.agents.stop()
    }
}

/// The parts of the relay that run, as far as they have been started.
struct Agents {
    /// Holds the grace once the stop has begun.
    stop: watch::Sender<Option<Duration>>,
    grace: Duration,
    is_stopped: bool,
    servers: Option<Ending>,
    maintenance: Option<Maintenance>,
    executor: Option<Executor>,
    store: Option<Store>,
    loops: EventLoops,
    fatal: Fatal,
}

/// A part of the stop.
struct Step {
    /// How an error names it.
    part: &'static str,
    /// Asks it to end, within the grace if it has one.
    ask: fn(&Agents, Duration),
    /// Its end, if it was started.
    ended: fn(&Agents) -> Option<&Ending>,
    asked: Asked,
    wait: Wait,
}

/// When a part is asked to end.
enum Asked {
    /// When the stop begins.
    AtOnce,
    /// Once those before it have ended or are given up.
    InTurn,
}

/// How long a part is waited for.
enum Wait {
    /// Until so long after the grace.
    Grace(Duration),
    /// So long, once it is its turn.
    Turn(Duration),
    /// The same, and the stop goes well without it.
    Spare(Duration),
}

/// How long after the grace the last outcomes may take to be recorded: two or three commits, each of
/// some milliseconds on a disk that is well.
const OVERTIME: Duration = Duration::from_secs(2);
/// How long after the grace the writer may take for what was sent before, and for the checkpoint, of
/// 64 MiB at most. With the default grace of 10 s that makes 15 s, and a supervisor kills after 30 s
/// (Kubernetes) or 90 s (systemd).
const WRITER_OVERTIME: Duration = Duration::from_secs(5);
/// How long threads may take to end that have nothing left to do but to give up reads, which they do
/// within 200 ms.
const THREAD_WAIT: Duration = Duration::from_millis(500);
/// The longest grace after a fatal error: nothing can be recorded any more, or it is unknown what can,
/// and a supervisor waits to start anew.
const FATAL_GRACE: Duration = Duration::from_secs(1);

/// The order of the stop. Past its wait a part is given up: the next start recovers, as it does after
/// a crash.
const ORDER: [Step; 6] = [
    Step {
        part: "requests",
        ask: |agents, grace| {
            agents.stop.send_replace(Some(grace));
        },
        ended: |agents| agents.servers.as_ref(),
        asked: Asked::AtOnce,
        wait: Wait::Grace(OVERTIME),
    },
    Step {
        part: "maintenance",
        ask: |agents, _| agents.maintenance.iter().for_each(Maintenance::begin_stop),
        ended: |agents| agents.maintenance.as_ref().map(Maintenance::ended),
        asked: Asked::AtOnce,
        wait: Wait::Grace(OVERTIME),
    },
    Step {
        part: "delivery dispatcher",
        ask: |agents, grace| agents.executor.iter().for_each(|it| it.wind_down(grace)),
        ended: |agents| agents.executor.as_ref().map(Executor::dispatcher_ended),
        asked: Asked::AtOnce,
        wait: Wait::Grace(OVERTIME),
    },
    Step {
        part: "database writer",
        ask: |agents, _| agents.store.iter().for_each(Store::begin_stop),
        ended: |agents| agents.store.as_ref().map(Store::ended),
        asked: Asked::InTurn,
        wait: Wait::Grace(WRITER_OVERTIME),
    },
    Step {
        part: "HTTP threads",
        ask: |agents, _| agents.loops.begin_stop(),
        ended: |agents| Some(agents.loops.ended()),
        asked: Asked::InTurn,
        wait: Wait::Turn(THREAD_WAIT),
    },
    // The dispatcher has asked them. One that connects or resolves a name can't be cut short, and its
    // delivery has been handed back.
    Step {
        part: "delivery workers",
        ask: |_, _| {},
        ended: |agents| agents.executor.as_ref().map(Executor::workers_ended),
        asked: Asked::InTurn,
        wait: Wait::Spare(THREAD_WAIT),
    },
];

impl Agents {
    /// Begins to accept connections.
    fn serve(
        &mut self,
        listener: TcpListener,
        admin: Option<TcpListener>,
        limits: ListenerLimits,
        app: &Arc<App>,
    ) {
        let (running, ended) = Ending::new();
        self.servers = Some(ended);
        let refuse = {
            let app = Arc::clone(app);
            Arc::new(move |status, start: &[u8]| app.answer_malformed(status, start))
        };
        let public = Arc::clone(app);
        let server = serve(
            listener,
            limits,
            move |request| Arc::clone(&public).answer(request),
            refuse.clone(),
            self.stop.subscribe(),
            self.loops.serving(),
        );
        self.spawn(
            "the listener at server.listen",
            server,
            Some(running.clone()),
        );
        if let Some(listener) = admin {
            let operators = Arc::clone(app);
            let server = serve(
                listener,
                limits.with_connections(ADMIN_CONNECTIONS),
                move |request| Arc::clone(&operators).answer_admin(request),
                refuse,
                self.stop.subscribe(),
                self.loops.serving(),
            );
            self.spawn("the listener at admin.listen", server, Some(running));
        }
        let app = Arc::clone(app);
        let tidy = async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                app.upkeep();
            }
        };
        self.spawn("the upkeep of limits and metrics", tidy, None);
    }

    /// Runs a task where connections are accepted. Its panic is fatal.
    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
        running: Option<Running>,
    ) {
        let watched = PanicIsFatal(name, self.fatal.clone());
        self.loops.accepting().spawn(async move {
            task.await;
            drop((watched, running));
        });
    }

    /// Stops what runs, in [`ORDER`]. Does nothing the second time.
    fn stop(&mut self) -> Result<(), RelayError> {
        if std::mem::replace(&mut self.is_stopped, true) {
            return Ok(());
        }
        let grace = match self.fatal.get() {
            Some(_) => self.grace.min(FATAL_GRACE),
            None => self.grace,
        };
        let end_of_grace = Deadline::within(grace);
        for step in &ORDER {
            if let Asked::AtOnce = step.asked {
                (step.ask)(self, grace);
            }
        }
        let mut stuck = Vec::new();
        for step in &ORDER {
            if let Asked::InTurn = step.asked {
                (step.ask)(self, grace);
            }
            let deadline = match step.wait {
                Wait::Grace(after) => end_of_grace.plus(after),
                Wait::Turn(wait) | Wait::Spare(wait) => Deadline::within(wait),
            };
            if (step.ended)(self).is_none_or(|ended| ended.wait(&deadline)) {
                continue;
            }
            if let Wait::Spare(_) = step.wait {
                log::info!(part = step.part; "a part has not ended yet, and the stop goes on without it");
            } else {
                stuck.push(step.part);
            }
        }
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

/// Held by a task whose panic nobody else would notice.
struct PanicIsFatal(&'static str, Fatal);

impl Drop for PanicIsFatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.raise(format!("{} panicked", self.0));
        }
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })
}
