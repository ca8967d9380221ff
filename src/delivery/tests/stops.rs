//! The end of the dispatcher and of the workers.

use super::*;

/// A transport whose attempts hang until it is aborted. It reports each attempt that begins.
struct Hanging {
    begun: Mutex<Sender<()>>,
    aborted: (Mutex<bool>, Condvar),
}

impl Hanging {
    fn new() -> (Arc<Self>, mpsc::Receiver<()>) {
        let (begun, has_begun) = channel();
        let hanging = Self {
            begun: Mutex::new(begun),
            aborted: (Mutex::new(false), Condvar::new()),
        };
        (Arc::new(hanging), has_begun)
    }
}

impl Transport for Hanging {
    fn send(&self, _: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
        let begun = self.begun.lock().expect("no panics");
        begun.send(()).expect("the test waits");
        drop(begun);
        let aborted = self.aborted.0.lock().expect("no panics");
        let waited = self.aborted.1.wait_while(aborted, |aborted| !*aborted);
        drop(waited.expect("no panics"));
        Outcome::failed(Class::Transient, FailureKind::Reset, "aborted")
    }

    fn abort(&self) {
        *self.aborted.0.lock().expect("no panics") = true;
        self.aborted.1.notify_all();
    }
}

/// An executor in the middle of an attempt that hangs.
struct HangingExecutor {
    _directory: tempfile::TempDir,
    store: Store,
    stop: Stop,
    stop_workers: Stop,
    executor: Executor,
    transport: Arc<Hanging>,
}

impl HangingExecutor {
    /// Asserts that the dispatcher ends, and then the workers when they are asked.
    fn assert_ends(&self) {
        assert!(self.executor.dispatcher.wait(&soon()));
        assert!(!self.executor.workers.wait(&Deadline::now()));
        self.stop_workers.ask(Deadline::now());
        assert!(self.executor.workers.wait(&soon()));
    }
}

fn hanging() -> HangingExecutor {
    let (directory, _clock, context) = context();
    let (store, stop) = (context.store.clone(), context.stop.clone());
    let stop_workers = context.stop_workers.clone();
    let (transport, begun) = Hanging::new();
    let parts = LevelParts {
        transport: Arc::<Hanging>::clone(&transport),
        admission: Box::new(Unlimited),
    };
    let executor = run(context, parts).expect("threads");
    accept(&store, "http://x", b"{}".to_vec());
    begun.recv_timeout(PATIENCE).expect("an attempt begins");
    HangingExecutor {
        _directory: directory,
        store,
        stop,
        stop_workers,
        executor,
        transport,
    }
}

#[test]
fn an_outcome_that_a_stopped_store_refuses_ends_the_dispatcher() {
    let running = hanging();
    running.store.stop();
    running.transport.abort();
    running.assert_ends();
}

#[test]
fn a_stop_without_a_store_does_not_wait_for_attempts() {
    let running = hanging();
    running.store.stop();
    running.stop.ask(Deadline::within(Duration::MAX));
    running.assert_ends();
}

#[test]
fn a_stop_releases_attempts_that_hang_and_ends_the_workers() {
    let running = hanging();
    running.stop.ask(Deadline::now());
    running.assert_ends();
    let store = &running.store;
    let claimed = store.all_deliveries(Some(DeliveryState::Processing));
    assert!(claimed.is_empty());
    store.stop();
}
