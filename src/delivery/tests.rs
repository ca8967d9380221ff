//! The dispatcher's tick, driven by hand on a fake clock.
//!
//! - `ticks`: claims, settlements and the next look. `steps`: commits of several steps.
//! - `fairness`, `ordering`, `prefetch`, `tokens`: what a tick claims. `panics`, `stops`: the ends
//!   of threads.

mod fairness;
mod ordering;
mod panics;
mod prefetch;
mod steps;
mod stops;
mod ticks;
mod tokens;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Live};
use crate::delivery::admission::{Admission, Occupancy, Refusal, Reputation, Request, Unlimited};
use crate::delivery::attempt::{Attempt, QUICK};
use crate::delivery::dispatcher::{Dispatcher, MAX_PRELOADED, PREFETCH_DEPTH};
use crate::delivery::levels::LevelParts;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::Pool;
use crate::delivery::target::Target;
use crate::delivery::transport::Transport;
use crate::model::{DeliveryState, FailureKind, Level, Surface};
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::ops::pulse::Pulse;
use crate::stop::{Deadline, Stop};
use crate::store::{Accept, DestinationId, OutboundMessage, Store, StoreContext};

/// The longest wait for an attempt to begin: longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails until it is repaired, or panics.
#[derive(Default)]
struct Receiver {
    is_repaired: AtomicBool,
    panics: AtomicBool,
}

impl Transport for Receiver {
    fn send(&self, _: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        if self.is_repaired.load(Ordering::SeqCst) {
            Outcome::delivered()
        } else {
            Outcome::failed(Class::Transient, FailureKind::Refused, "down")
        }
    }

    fn abort(&self) {}
}

struct Scene {
    _directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Store,
    wake: Wake,
    stop: Stop,
    stop_workers: Stop,
    receiver: Arc<Receiver>,
    dispatcher: Dispatcher,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop_workers.ask(Deadline::now());
    }
}

fn context() -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    context_with(|_| {})
}

fn context_with(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.level = Some(Level::Durable);
    config.delivery.workers = 2;
    config.delivery.defaults.retry.schedule = Some(vec![Duration::from_secs(300)]);
    config.delivery.defaults.retry.jitter = Some(0.0);
    change(&mut config);
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let metrics = Arc::new(Metrics::new(Level::Simulated));
    let wake = Wake::new();
    let on_work = {
        let wake = wake.clone();
        Arc::new(move |due: &[DestinationId]| wake.due(due))
    };
    let config = config.resolve();
    let surroundings = StoreContext {
        clock: Arc::<FakeClock>::clone(&clock),
        node: crate::config::Node::default(),
        metrics: Arc::clone(&metrics),
        stop: Stop::default(),
        on_work,
        on_outside_write: Arc::new(|| {}),
        on_broken: Arc::new(|_| {}),
    };
    let store = Store::open(&config.database, config.longest_wait(), surroundings)
        .expect("the store opens");
    let context = Context {
        config: Live::from(config),
        stop: Stop::default(),
        stop_workers: Stop::default(),
        store,
        clock: Arc::<FakeClock>::clone(&clock),
        metrics,
        fatal: Fatal::new(),
        own_listeners: Vec::new(),
        wake,
        pulse: Pulse::default(),
    };
    (directory, clock, context)
}

fn scene() -> Scene {
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    scene_of(receiver, transport, Box::new(Unlimited))
}

fn scene_of(
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    admission: Box<dyn Admission>,
) -> Scene {
    let (directory, clock, context) = context();
    scene_in(directory, clock, context, receiver, transport, admission)
}

fn scene_in(
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    context: Context,
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    admission: Box<dyn Admission>,
) -> Scene {
    let (store, wake) = (context.store.clone(), context.wake.clone());
    let (stop, stop_workers) = (context.stop.clone(), context.stop_workers.clone());
    let pool = Pool::start(&context, &transport).expect("threads");
    let parts = LevelParts {
        transport,
        admission,
    };
    Scene {
        _directory: directory,
        clock,
        store,
        wake,
        stop,
        stop_workers,
        receiver,
        dispatcher: Dispatcher::new(context, parts, pool),
    }
}

impl Scene {
    fn accept(&self) {
        self.accept_body(b"{}".to_vec());
    }

    fn accept_body(&self, body: Vec<u8>) {
        self.accept_all_of("http://x", body);
    }

    fn accept_for(&self, origin: &str) {
        self.accept_all_of(origin, b"{}".to_vec());
    }

    fn accept_all_of(&self, origin: &str, body: Vec<u8>) {
        accept(&self.store, origin, body);
        // The writer wakes the dispatcher after it has answered. The next wait is for a worker.
        self.wake.wait(PATIENCE);
    }

    /// Waits for a completion.
    fn worked(&self) {
        self.wake.wait(PATIENCE);
    }
}

fn accept(store: &Store, origin: &str, body: Vec<u8>) {
    let op = intent(origin, body);
    store.accept_blocking(op).expect("accepted");
}

/// A relay to this origin.
fn intent(origin: &str, body: Vec<u8>) -> Accept {
    Accept {
        surface: Surface::Relay,
        label: "a".to_owned(),
        url: Some(format!("{origin}/")),
        event_type: None,
        query: None,
        destinations: Arc::from([origin.to_owned()]),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: body.into(),
        key: None,
        window: Duration::ZERO,
    }
}

/// Each delivery's state, and the attempts that it has spent.
fn deliveries(scene: &Scene) -> Vec<(i64, i64)> {
    let deliveries = scene.store.all_deliveries(None).into_iter();
    deliveries
        .map(|one| (one.state.number(), i64::from(one.attempts)))
        .collect()
}

fn soon() -> Deadline {
    Deadline::within(PATIENCE)
}
