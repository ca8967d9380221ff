use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Live, Resolved};
use crate::delivery::{self, Wake};
use crate::http::{App, EventLoops, LearnedSecrets, ListenerLimits, LiveApp, event_loops, serve};
use crate::maintenance::heartbeat::{self, Heartbeat};
use crate::maintenance::{self, Worker};
use crate::model::{FetchCertificate, Level};
use crate::ops::fatal::Fatal;
use crate::ops::fd_limit::{self, Demand};
use crate::ops::metrics::Metrics;
use crate::ops::notices::Notices;
use crate::ops::pulse::Pulse;
use crate::relay::agents::Agents;
use crate::relay::error::StartError;
use crate::stop::{Ending, Running};
use crate::store::{DestinationId, OWN_READERS, OpenError, Store, StoreContext};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// Connections to the operator's listener. A decision: scrapers, programs, and a few people with
/// several pages open.
const ADMIN_CONNECTIONS: u32 = 64;
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

/// The parts of a relay that runs.
pub(super) struct Started {
    pub agents: Agents,
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    pub store: Store,
    pub event_loops: EventLoops,
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
    let own_listeners: Vec<_> = [Some(listeners.address), listeners.admin_address]
        .into_iter()
        .flatten()
        .collect();

    let wake = Wake::new();
    let outside_write = Arc::new(Notify::new());
    let store = open(&config, &clock, &metrics, &agents, &wake, &outside_write)?;
    agents.writer.ended = Some(store.ended().clone());
    let context = delivery::Context {
        config: Live::new(Arc::clone(&config)),
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
    start_agents(&mut agents, &config, context)?;

    let learned_secrets = Arc::new(LearnedSecrets::default());
    learned_secrets.load(&store)?;
    let (address, admin_address) = (listeners.address, listeners.admin_address);
    let connections = fd_limit::connections(config.server.max_connections, &demand(&config));
    let limits = ListenerLimits::new(&config.server).with_connections(connections);
    let app = LiveApp::new(App::new(
        config,
        store.clone(),
        clock,
        metrics,
        own_listeners,
        fetch_certificate,
        Arc::clone(&learned_secrets),
    ));
    serve_on(&mut agents, &event_loops, listeners, limits, &app);
    let follow = follow_commands(outside_write, learned_secrets, store.clone());
    let spawner = Spawner {
        event_loops: &event_loops,
        fatal: &agents.fatal,
    };
    spawner.spawn("the task that follows commands", follow, None);
    Ok(Started {
        agents,
        address,
        admin_address,
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

/// Starts the executor, maintenance, and the heartbeat if there is one.
fn start_agents(
    agents: &mut Agents,
    config: &Resolved,
    context: delivery::Context,
) -> std::io::Result<()> {
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
    let worker = Worker::new(store.clone(), live, Arc::clone(&clock), metrics, notices);
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
    Ok(())
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

/// The relay's other users of file descriptors.
pub(super) fn demand(config: &Resolved) -> Demand {
    let destinations = config.destinations.values();
    let shared = config.delivery.proxy.as_ref();
    let own_pools = destinations.clone().filter(|to| to.network.is_own(shared));
    Demand {
        // One accepts connections, the others attend to them.
        event_loops: 1 + event_loops::count(),
        readers: config.database.readers + OWN_READERS,
        admin_connections: ADMIN_CONNECTIONS,
        workers: config.delivery.workers,
        destinations: destinations.len(),
        own_pools: own_pools.count(),
    }
}

/// Begins to accept connections.
fn serve_on(
    agents: &mut Agents,
    event_loops: &EventLoops,
    listeners: Listeners,
    limits: ListenerLimits,
    app: &LiveApp,
) {
    let (running, ended) = Ending::new();
    agents.requests.ended = Some(ended);
    let spawner = Spawner {
        event_loops,
        fatal: &agents.fatal,
    };
    let malformed = {
        let app = app.clone();
        Arc::new(move |status, start: &[u8]| app.current().answer_malformed(status, start))
    };
    let public = app.clone();
    let server = serve(
        listeners.public,
        limits,
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
            limits.with_connections(ADMIN_CONNECTIONS),
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

impl Spawner<'_> {
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
