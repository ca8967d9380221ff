use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::acme;
use crate::clock::Clock;
use crate::config::{Live, Resolved};
use crate::delivery::{self, Wake};
use crate::http::{App, AppContext, EventLoops, LearnedSecrets, LiveApp};
use crate::maintenance::backups::{BackupAgent, Pass};
use crate::maintenance::heartbeat::{self, Heartbeat};
use crate::maintenance::{self, Worker};
use crate::model::{FetchCertificate, Level, SendPing};
use crate::ops::fd_limit;
use crate::ops::metrics::Metrics;
use crate::ops::notices::Notices;
use crate::ops::pulse::Pulse;
use crate::relay::agents::Agents;
use crate::relay::certificates::{Certificates, Prepared};
use crate::relay::demand::demand;
use crate::relay::error::StartError;
use crate::relay::listeners::{Listeners, Sockets};
use crate::relay::reload::Parts;
use crate::relay::serving::{serve_on, upkeep};
use crate::relay::spawner::Spawner;
use crate::store::{DestinationId, OpenError, Store, StoreContext, StoreError};

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

/// Starts a relay. An error drops the agents that are started by then, which stops them. `prepared`
/// are the listeners' certificates; `sockets` take the place of addresses. `fetch` makes what
/// fetches certificates of providers.
pub(super) fn start(
    config: Arc<Resolved>,
    prepared: Prepared,
    sockets: Sockets,
    clock: Arc<dyn Clock>,
    fetch: impl FnOnce(&delivery::Context) -> FetchCertificate,
) -> Result<Started, StartError> {
    let metrics = Arc::new(Metrics::new(config.level()));
    let notices = Notices::default();
    let certificates = Certificates::new(prepared, &metrics, &notices);
    let mut agents = Agents::new(config.server.shutdown_grace);
    let event_loops = EventLoops::start(&agents.fatal, &agents.http_threads.stop)?;
    agents.http_threads.ended = Some(event_loops.ended().clone());

    // Listeners come first: an address in use stops the start before anything is on disk.
    let listeners = Listeners::bind(&config, &event_loops, sockets)?;
    let own_listeners = listeners.addresses();
    let (live, wake) = (Live::new(Arc::clone(&config)), Wake::new());
    let outside_write = Arc::new(Notify::new());
    let store = open(&config, &clock, &metrics, &agents, &wake, &outside_write)?;
    agents.writer.ended = Some(store.ended().clone());
    let shared = (store.clone(), Arc::clone(&clock), Arc::clone(&metrics));
    let context = delivery_context(&agents, live.clone(), shared, own_listeners.clone(), wake);
    let pulse = context.pulse.clone();
    let fetch_certificate = fetch(&context);
    let (executor, ping) = start_agents(&mut agents, &config, context, &notices)?;
    let learned_secrets = Arc::new(LearnedSecrets::default());
    let unreadable = |source| unreadable(&config, source);
    learned_secrets.load(&store).map_err(unreadable)?;
    let (address, admin_address) = (listeners.address, listeners.admin_address);
    let connections = fd_limit::connections(config.server.max_connections, &demand(&config));
    let app = App::new(
        config,
        AppContext {
            store: store.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            own_listeners,
            fetch_certificate,
            ping,
            learned_secrets: Arc::clone(&learned_secrets),
            tls: certificates.server(),
            stop: agents.requests.stop.clone(),
        },
    );
    let app = LiveApp::new(app);
    let parts = Parts {
        live,
        app,
        certificates,
        executor,
        pulse,
        notices,
        store: store.clone(),
        clock,
        metrics,
        connections,
    };
    let follow = follow_commands(outside_write, learned_secrets, &parts);
    begin_serving(&mut agents, &event_loops, listeners, &parts, follow)?;
    Ok(Started {
        agents,
        address,
        admin_address,
        store,
        event_loops,
        parts,
    })
}

fn unreadable(config: &Resolved, source: StoreError) -> StartError {
    // Without a descriptor no reader is free, which most often means that others have them.
    if source.is_passing() && fd_limit::is_used_up() {
        return StartError::System(std::io::Error::other(format!(
            "the limit of open files ({}) is used up: raise it (ulimit -n, LimitNOFILE=)",
            fd_limit::limit()
        )));
    }
    StartError::Store {
        database: config.database.shown(),
        source,
    }
}

/// The parts of a relay that its executor works with.
fn delivery_context(
    agents: &Agents,
    config: Live,
    (store, clock, metrics): (Store, Arc<dyn Clock>, Arc<Metrics>),
    own_listeners: Vec<SocketAddr>,
    wake: Wake,
) -> delivery::Context {
    delivery::Context {
        config,
        store,
        clock,
        metrics,
        fatal: agents.fatal.clone(),
        stop: agents.dispatcher.stop.clone(),
        stop_workers: agents.workers.stop.clone(),
        own_listeners,
        wake,
        pulse: Pulse::default(),
    }
}

/// Begins to serve, and starts the tasks beside it. `follow` follows commands.
fn begin_serving(
    agents: &mut Agents,
    event_loops: &EventLoops,
    listeners: Listeners,
    parts: &Parts,
    follow: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    // Made before anything is served: its directory may be one that can't be written.
    let acme = parts.certificates.acme(&parts.live.current(), &parts.clock);
    let acme = acme.map_err(std::io::Error::other)?;
    serve_on(agents, event_loops, listeners, parts);
    if let Some(acme) = acme {
        let stop = agents.acme.stop.clone();
        agents.acme.ended = Some(acme::start(acme, stop)?);
    }
    let spawner = Spawner::new(event_loops, &agents.fatal);
    spawner.spawn("the task that follows commands", follow, None);
    spawner.spawn("the upkeep of limits and metrics", upkeep(parts), None);
    Ok(())
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
        node: config.node.clone(),
        metrics: Arc::clone(metrics),
        stop: agents.writer.stop.clone(),
        on_work,
        on_outside_write,
        on_broken,
    };
    Store::open(&config.database, config.longest_wait(), context)
}

/// Starts the executor, maintenance, and the heartbeat if there is one. Returns the executor's part
/// of a reload, and what tests destinations. Maintenance tells of what is in `notices`.
fn start_agents(
    agents: &mut Agents,
    config: &Resolved,
    context: delivery::Context,
    notices: &Notices,
) -> std::io::Result<(delivery::Reload, SendPing)> {
    let heartbeat = delivery::heartbeat_sender(&context);
    let (live, store) = (context.config.clone(), context.store.clone());
    let (clock, pulse) = (Arc::clone(&context.clock), context.pulse.clone());
    let metrics = Arc::clone(&context.metrics);
    let (sources, destinations) = (config.counted_sources(), config.counted_destinations());
    metrics.declare(sources, destinations);
    let executor = delivery::start(context)?;
    agents.dispatcher.ended = Some(executor.dispatcher);
    agents.workers.ended = Some(executor.workers);
    let told = notices.clone();
    let stop = agents.maintenance.stop.clone();
    let backups = BackupAgent::new(
        Pass {
            store: store.clone(),
            config: live.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            notices: notices.clone(),
        },
        stop.clone(),
    );
    let worker = Worker::new(store.clone(), live, Arc::clone(&clock), metrics, told);
    let worker = worker.with_backups(backups);
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
    Ok((executor.reload, executor.ping))
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

/// Puts the changes of commands to use that requests depend on.
fn follow_commands(
    outside_write: Arc<Notify>,
    learned_secrets: Arc<LearnedSecrets>,
    parts: &Parts,
) -> impl Future<Output = ()> + Send + use<> {
    let (store, app) = (parts.store.clone(), parts.app.clone());
    async move {
        loop {
            outside_write.notified().await;
            Arc::clone(&learned_secrets).refresh(store.clone()).await;
            while let Some(is_dry_run) = store.take_reload() {
                let app = app.clone();
                // Its result is in the log, and in the database for the command that waits for it.
                let _ = tokio::task::spawn_blocking(move || app.reload_file(is_dry_run)).await;
            }
        }
    }
}
