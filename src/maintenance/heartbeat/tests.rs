use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::{Config, Secret};
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::store::{StoreContext, Unready};

struct Scene {
    heartbeat: Heartbeat,
    clock: Arc<FakeClock>,
    sent: Arc<AtomicUsize>,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(min_free_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.database.path = directory.path().join("relay.db");
        config.database.min_free_bytes = min_free_bytes;
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let context = StoreContext {
            clock: Arc::<FakeClock>::clone(&clock),
            node: crate::config::Node::default(),
            metrics: Arc::new(Metrics::new(Level::Off)),
            stop: Stop::default(),
            on_work: Arc::new(|_| {}),
            on_outside_write: Arc::new(|| {}),
            on_broken: Arc::new(|_| {}),
        };
        let day = Duration::from_secs(86_400);
        let store = Store::open(&config.database, day, context).expect("the store opens");
        let sent = Arc::new(AtomicUsize::new(0));
        let policy = HeartbeatPolicy {
            url: Secret::new("http://127.0.0.1:9/secret"),
            every: Duration::from_secs(60),
        };
        let counted = Arc::clone(&sent);
        let count_beat = Arc::new(move |_: &str| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let time = Arc::<FakeClock>::clone(&clock);
        Self {
            heartbeat: Heartbeat::new(&policy, store, time, Pulse::default(), count_beat),
            clock,
            sent,
            _directory: directory,
        }
    }

    /// The dispatcher ticks, and a beat is due; whether it is sent.
    fn beat(&self) -> Result<(), String> {
        self.heartbeat.pulse.beat(self.clock.monotonic());
        self.heartbeat.beat()
    }

    /// Lets time pass. The writer may tidy up meanwhile, and seem to have taken as long.
    fn advance(&self, time: Duration) {
        self.clock.advance(time);
        while self.heartbeat.store.readiness() == Err(Unready::Stalled) {
            std::thread::yield_now();
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.heartbeat.store.stop();
    }
}

#[test]
fn a_beat_is_sent_while_the_writer_commits_and_the_dispatcher_ticks() {
    let scene = Scene::new(0);
    assert!(
        scene.heartbeat.beat().is_err(),
        "the dispatcher never ticked"
    );
    scene.advance(Duration::from_secs(1));
    assert_eq!((scene.beat(), scene.sent()), (Ok(()), 1));
    scene.advance(HANGS_AFTER);
    assert_eq!(scene.heartbeat.beat(), Ok(()));
    scene.advance(Duration::from_secs(1));
    let hangs = scene.heartbeat.beat();
    assert_eq!(hangs, Err("the dispatcher hangs".to_owned()));
    assert_eq!((scene.beat(), scene.sent()), (Ok(()), 3));
}

#[test]
fn no_beat_is_sent_with_too_little_free_space() {
    let scene = Scene::new(u64::MAX >> 1);
    let error = scene.beat().expect_err("no space");
    assert!(error.contains("too little free space"), "{error}");
    assert_eq!(scene.sent(), 0);
}

#[test]
fn a_beat_that_is_refused_is_an_error_without_its_url() {
    let mut scene = Scene::new(0);
    scene.heartbeat.send = Arc::new(|_| Err("answered 500".to_owned()));
    assert_eq!(scene.beat(), Err("answered 500".to_owned()));
}
