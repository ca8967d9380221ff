//! Wiring and the ordered stop: the only file that knows every part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::delivery::{self, Executor, Wake};
use crate::descriptors;
use crate::fatal::Fatal;
use crate::http::{App, Limits, Loops, serve};
use crate::maintenance::{Maintenance, Worker};
use crate::metrics::Metrics;
use crate::model::{IntentId, InvalidId};
use crate::store::{OpenError, Replay, Store, StoreError};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// Connections to the operator's listener: a scraper and a few curious people.
pub(crate) const ADMIN_CONNECTIONS: u32 = 16;
/// How often full token buckets are forgotten and histograms folded; between foldings each request
/// holds a few bytes.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// How long the runtime's own threads get at the end, when nothing of ours is left on them.
const RUNTIME_GRACE: Duration = Duration::from_millis(200);

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

/// Why a running relay failed.
#[derive(Debug, Error)]
pub enum RelayError {
    /// A part could not go on: a disk that fails, a bug. What was acknowledged is on disk; start
    /// again.
    #[error("{0}")]
    Fatal(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not an id of ours.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// A running relay. Dropping it stops it as [`Relay::stop`] does.
pub struct Relay {
    runtime: Option<(Runtime, Loops)>,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    grace: Duration,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    executor: Executor,
    maintenance: Maintenance,
    store: Store,
    fatal: Fatal,
}

impl Relay {
    /// Starts with the system's clock. Returns once it listens.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock::new()))
    }

    /// Starts with a clock of the caller's.
    ///
    /// # Panics
    ///
    /// Not by itself; a panic here is a bug.
    pub fn start_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config.check()?;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new(config.level()));
        let fatal = Fatal::new();
        // It accepts connections and tidies up; who attends to them are the loops.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("relay-accept")
            .build()?;
        let loops = Loops::start(RUNTIME_GRACE, &fatal)?;

        // Listeners come first: an address in use stops the start before anything is on disk.
        let entered = runtime.enter();
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
        let on_broken = {
            let fatal = fatal.clone();
            Arc::new(move |why| fatal.raise(why))
        };
        let store = Store::open(
            &config.database,
            config.longest_wait(),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            on_work,
            on_broken,
        )?;
        let executor = delivery::start(delivery::Context {
            config: Arc::clone(&config),
            store: store.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            fatal: fatal.clone(),
            own_listeners: own_listeners.clone(),
            wake,
        })?;

        let worker = Worker::new(store.clone(), Arc::clone(&config), Arc::clone(&clock));
        let maintenance = Maintenance::start(worker, fatal.clone())?;

        let (stop, stopped) = watch::channel(false);
        let limits = Limits::of(&config.server).with_connections(descriptors::connections(&config));
        let grace = config.server.shutdown_grace;
        let app = Arc::new(App::new(
            config,
            store.clone(),
            clock,
            metrics,
            own_listeners,
        ));
        let mut servers = Vec::new();
        let public = Arc::clone(&app);
        let refuse = {
            let app = Arc::clone(&app);
            Arc::new(move |status, start: &[u8]| app.refuse(status, start))
        };
        servers.push(runtime.spawn(serve(
            listener,
            limits,
            move |request| Arc::clone(&public).answer(request),
            refuse.clone(),
            stopped.clone(),
            loops.each(),
        )));
        if let Some((listener, _)) = admin {
            let admin = Arc::clone(&app);
            servers.push(runtime.spawn(serve(
                listener,
                limits.with_connections(ADMIN_CONNECTIONS),
                move |request| Arc::clone(&admin).answer_admin(request),
                refuse,
                stopped,
                loops.each(),
            )));
        }
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                app.tidy();
            }
        });
        Ok(Self {
            runtime: Some((runtime, loops)),
            address,
            admin_address,
            grace,
            stop,
            servers,
            executor,
            maintenance,
            store,
            fatal,
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
    /// attempts. Returns how many there were. Blocks; from asynchronous code, call it on a thread
    /// that may.
    pub fn replay(&self, id: &str) -> Result<usize, RelayError> {
        let id: IntentId = id.parse()?;
        Ok(self.store.write_blocking(Replay(id))?)
    }

    /// Waits until `asked` resolves (it runs on this relay's runtime) or a part fails.
    ///
    /// # Panics
    ///
    /// When called from asynchronous code.
    pub fn wait(&self, asked: impl Future<Output = ()>) -> Result<(), RelayError> {
        let Some((runtime, _)) = &self.runtime else {
            return Ok(());
        };
        runtime.block_on(async {
            tokio::select! {
                () = asked => Ok(()),
                why = self.fatal.raised() => Err(RelayError::Fatal(why)),
            }
        })
    }

    /// Stops in order: no more connections, no more claims, requests drained, attempts finished or
    /// handed back, the writer last, a checkpoint. Requests and attempts have `server.shutdown_grace`
    /// together.
    pub fn stop(mut self) -> Result<(), RelayError> {
        self.shut_down()
    }

    /// On a thread of its own: blocking on a runtime is forbidden within another one, and who embeds
    /// us may well drop us there.
    fn shut_down(&mut self) -> Result<(), RelayError> {
        std::thread::scope(|scope| scope.spawn(|| self.shut_down_here()).join())
            .unwrap_or_else(|_| Err(RelayError::Fatal("the stop panicked".to_owned())))
    }

    fn shut_down_here(&mut self) -> Result<(), RelayError> {
        let Some((runtime, loops)) = self.runtime.take() else {
            return Ok(());
        };
        self.stop.send_replace(true);
        // Requests and attempts have the same grace: what is accepted meanwhile is for the next start.
        self.executor.wind_down(self.grace);
        let mut result = Ok(());
        for server in self.servers.drain(..) {
            if let Err(error) = runtime.block_on(server) {
                result = Err(RelayError::Fatal(format!("a listener failed: {error}")));
            }
        }
        self.maintenance.stop();
        self.executor.join();
        self.store.stop();
        drop(loops);
        runtime.shutdown_timeout(RUNTIME_GRACE);
        result
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            log::error!(error:% = error; "the stop went wrong");
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
