use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Live, Resolved};
use crate::delivery::{self, Wake};
use crate::http::{App, EventLoops, LearnedSecrets, LiveApp, serve};
use crate::maintenance::heartbeat::{self, Heartbeat};
use crate::maintenance::{self, Worker};
use crate::model::{FetchCertificate, Level};
use crate::ops::fatal::Fatal;
use crate::ops::fd_limit;
use crate::ops::metrics::Metrics;
use crate::ops::notices::Notices;
use crate::ops::pulse::Pulse;
use crate::relay::agents::Agents;
use crate::relay::demand::{ADMIN_CONNECTIONS, demand};
use crate::relay::error::StartError;
use crate::relay::reload::Parts;
use crate::stop::{Ending, Running};
use crate::store::{DestinationId, OpenError, Store, StoreContext};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// The interval at which full token buckets are evicted and histograms folded. Between two foldings
/// each request holds a few bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The listeners, bound but not yet accepting.
struct Listeners {
    public: TcpListener,
    admin: Option<TcpListener>,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
}

impl Listeners {
    fn addresses(&self) -> Vec<SocketAddr> {
        let both = [Some(self.address), self.admin_address];
        both.into_iter().flatten().collect()
    }
}

/// The parts of a relay that runs.
pub(super) struct Started {
    pub agents: Agents,
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    pub store: Store,
    pub event_loops: EventLoops,
    /// The parts that a reload reaches.
    pub parts: Parts,
}

/// Starts a relay. An error drops the agents that are started by then, which stops them. `fetch`
/// makes what fetches certificates of providers.
pub(super) fn start(
    config: Arc<Resolved>,
    clock: Arc<dyn Clock>,
    fetch: impl FnOnce(&delivery::Context) -> FetchCertificate,
) -> Result<Started, StartError> {
    let metrics = Arc::new(Metrics::new(config.level()));
    let mut agents = Agents::new(config.server.shutdown_grace);
    let event_loops = EventLoops::start(&agents.fatal, &agents.http_threads.stop)?;
    agents.http_threads.ended = Some(event_loops.ended().clone());

    // Listeners come first: an address in use stops the start before anything is on disk.
    let listeners = bind(&config, &event_loops)?;
    let own_listeners = listeners.addresses();
    let (live, wake) = (Live::new(Arc::clone(&config)), Wake::new());
    let outside_write = Arc::new(Notify::new());
    let store = open(&config, &clock, &metrics, &agents, &wake, &outside_write)?;
    agents.writer.ended = Some(store.ended().clone());
    let context = delivery::Context {
        config: live.clone(),
        store: store.clone(),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        fatal: agents.fatal.clone(),
        stop: agents.dispatcher.stop.clone(),
        stop_workers: agents.workers.stop.clone(),
        own_listeners: own_listeners.clone(),
        wake,
        pulse: Pulse::default(),
    };
    let fetch_certificate = fetch(&context);
    let (executor, notices) = start_agents(&mut agents, &config, context)?;
    let learned_secrets = Arc::new(LearnedSecrets::default());
    learned_secrets.load(&store)?;
    let (address, admin_address) = (listeners.address, listeners.admin_address);
    let connections = fd_limit::connections(config.server.max_connections, &demand(&config));
    let app = LiveApp::new(App::new(
        config,
        store.clone(),
        Arc::clone(&clock),
        Arc::clone(&metrics),
        own_listeners,
        fetch_certificate,
        Arc::clone(&learned_secrets),
    ));
    serve_on(&mut agents, &event_loops, listeners, connections, &app);
    let follow = follow_commands(outside_write, learned_secrets, store.clone());
    Spawner::new(&event_loops, &agents.fatal).spawn("the task that follows commands", follow, None);
    Ok(Started {
        agents,
        address,
        admin_address,
        parts: Parts {
            live,
            app,
            executor,
            notices,
            store: store.clone(),
            clock,
            metrics,
            connections,
        },
        store,
        event_loops,
    })
}

fn bind(config: &Resolved, event_loops: &EventLoops) -> Result<Listeners, StartError> {
    let _entered = event_loops.accepting().enter();
    let (public, address) = listen("server.listen", config.server.listen)?;
    let admin = config
        .admin
        .listen
        .map(|address| listen("admin.listen", address))
        .transpose()?;
    let (admin, admin_address) = admin.unzip();
    Ok(Listeners {
        public,
        admin,
        address,
        admin_address,
    })
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

/// Opens the database. Its writer wakes the dispatcher, and raises the fatal error.
fn open(
    config: &Resolved,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    agents: &Agents,
    wake: &Wake,
    outside_write: &Arc<Notify>,
) -> Result<Store, OpenError> {
    let on_work = {
        let wake = wake.clone();
        Arc::new(move |due: &[DestinationId]| wake.due(due))
    };
    let on_outside_write = {
        let (wake, outside_write) = (wake.clone(), Arc::clone(outside_write));
        Arc::new(move || {
            wake.outside_write();
            outside_write.notify_one();
        })
    };
    let on_broken = {
        let fatal = agents.fatal.clone();
        Arc::new(move |why| fatal.raise(why))
    };
    let context = StoreContext {
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
        stop: agents.writer.stop.clone(),
        on_work,
        on_outside_write,
        on_broken,
    };
    Store::open(&config.database, config.longest_wait(), context)
}

/// Starts the executor, maintenance, and the heartbeat if there is one. Returns the executor's part
/// of a reload, and what maintenance tells of failures.
fn start_agents(
    agents: &mut Agents,
    config: &Resolved,
    context: delivery::Context,
) -> std::io::Result<(delivery::Reload, Notices)> {
    let heartbeat = delivery::heartbeat_sender(&context);
    let (live, store) = (context.config.clone(), context.store.clone());
    let (clock, pulse) = (Arc::clone(&context.clock), context.pulse.clone());
    let metrics = Arc::clone(&context.metrics);
    let (sources, destinations) = (config.counted_sources(), config.counted_destinations());
    metrics.rollups.declare(sources, destinations);
    let executor = delivery::start(context)?;
    agents.dispatcher.ended = Some(executor.dispatcher);
    agents.workers.ended = Some(executor.workers);
    let notices = Notices::default();
    let told = notices.clone();
    let worker = Worker::new(store.clone(), live, Arc::clone(&clock), metrics, told);
    let stop = agents.maintenance.stop.clone();
    agents.maintenance.ended = Some(maintenance::start(worker, stop, agents.fatal.clone())?);
    warn_of_idle_alerts(config, heartbeat.is_some());
    let alerts = config.alerts.as_ref();
    if let Some(policy) = alerts.and_then(|alerts| alerts.heartbeat.as_ref())
        && let Some(send) = heartbeat
    {
        let heartbeat = Heartbeat::new(policy, store, clock, pulse, send);
        let stop = agents.heartbeat.stop.clone();
        agents.heartbeat.ended = Some(heartbeat::start(heartbeat, stop)?);
    }
    Ok((executor.reload, notices))
}

/// Says which parts of `[alerts]` have no effect at the level that runs.
fn warn_of_idle_alerts(config: &Resolved, has_heartbeat: bool) {
    let Some(alerts) = &config.alerts else { return };
    let level = config.level();
    let has_alerts = level != Level::Off;
    let idle = match (
        alerts.destination.is_some() && !has_alerts,
        alerts.heartbeat.is_some() && !has_heartbeat,
    ) {
        (true, true) => "alerts and the heartbeat are idle",
        (true, false) => "alerts are idle",
        (false, true) => "the heartbeat is idle",
        (false, false) => return,
    };
    log::warn!("{idle}: nobody is contacted at delivery.level = \"{level}\"");
}

/// Begins to accept connections.
fn serve_on(
    agents: &mut Agents,
    event_loops: &EventLoops,
    listeners: Listeners,
    connections: u32,
    app: &LiveApp,
) {
    let (running, ended) = Ending::new();
    agents.requests.ended = Some(ended);
    let spawner = Spawner::new(event_loops, &agents.fatal);
    let malformed = {
        let app = app.clone();
        Arc::new(move |status, start: &[u8]| app.current().answer_malformed(status, start))
    };
    let limits = |connections: u32| {
        let app = app.clone();
        move || {
            app.current()
                .listener_limits()
                .with_connections(connections)
        }
    };
    let public = app.clone();
    let server = serve(
        listeners.public,
        limits(connections),
        move |request| public.current().answer(request),
        malformed.clone(),
        agents.requests.stop.clone(),
        event_loops.serving(),
    );
    spawner.spawn(
        "the listener at server.listen",
        server,
        Some(running.clone()),
    );
    if let Some(listener) = listeners.admin {
        let operators = app.clone();
        let server = serve(
            listener,
            limits(ADMIN_CONNECTIONS),
            move |request| operators.current().answer_admin(request),
            malformed,
            agents.requests.stop.clone(),
            event_loops.serving(),
        );
        spawner.spawn("the listener at admin.listen", server, Some(running));
    }
    let app = app.clone();
    let upkeep = async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            app.current().upkeep();
        }
    };
    spawner.spawn("the upkeep of limits and metrics", upkeep, None);
}

/// Puts the changes of commands to use that requests depend on.
async fn follow_commands(
    outside_write: Arc<Notify>,
    learned_secrets: Arc<LearnedSecrets>,
    store: Store,
) {
    loop {
        outside_write.notified().await;
        Arc::clone(&learned_secrets).refresh(store.clone()).await;
    }
}

/// Runs tasks on the thread that accepts connections.
struct Spawner<'a> {
    event_loops: &'a EventLoops,
    fatal: &'a Fatal,
}

impl<'a> Spawner<'a> {
    fn new(event_loops: &'a EventLoops, fatal: &'a Fatal) -> Self {
        Self { event_loops, fatal }
    }

    /// Runs a task, which holds `running` until it ends. Its panic is fatal.
    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
        running: Option<Running>,
    ) {
        let watched = PanicIsFatal(name, self.fatal.clone());
        self.event_loops.accepting().spawn(async move {
            task.await;
            drop((watched, running));
        });
    }
}

/// Held by a task whose panic would go unnoticed otherwise.
struct PanicIsFatal(&'static str, Fatal);

impl Drop for PanicIsFatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.raise(format!("{} panicked", self.0));
        }
    }
}
