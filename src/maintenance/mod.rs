//! The store's work besides accepting and delivering, in small steps with pauses between them, so
//! that neither ingestion nor delivery has to wait.
//!
//! - `retention`: deletes what is finished after its time. `shedding`: before it, to make room.
//! - `bulk`: bulk operations. `routing`: the configuration, as these ask it. `skipping`: dead
//!   letters that no longer block others.
//! - `rollups`: counts by minute and hour. `alerts`: what the operator is told. `heartbeat`: on a
//!   thread of its own. `backups`: copies of the database. `pauses`: between the steps.

mod alerts;
pub(crate) mod backups;
mod bulk;
pub(crate) mod heartbeat;
mod pauses;
mod retention;
mod rollups;
mod routing;
mod shedding;
mod skipping;

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
pub(crate) use self::retention::LONGEST_PAUSE;

use self::alerts::{AlertAgent, AlertSources};
use self::backups::BackupAgent;
use self::bulk::BulkAgent;
use self::pauses::LOOK_EVERY;
use self::retention::RetentionAgent;
use self::rollups::RollupAgent;
pub(crate) use self::routing::ConfiguredRouting;
use self::shedding::SheddingAgent;
use self::skipping::SkippingAgent;
use crate::clock::Clock;
use crate::config::Live;
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::ops::notices::Notices;
use crate::stop::{Ending, Stop};
use crate::store::{Store, StoreError};

/// An agent that has a turn in each step, but for a while after it has failed.
struct Turns<A> {
    agent: A,
    /// The time of its next turn after a failure.
    put_off: Option<Duration>,
}

impl<A> Turns<A> {
    fn of(agent: A) -> Self {
        Self {
            agent,
            put_off: None,
        }
    }

    /// Takes its turn at `now`, the time that the worker has rested. It is put off by a failure,
    /// and the others are not. A failure because the store has stopped is told before others.
    fn take<T: Default>(
        &mut self,
        now: Duration,
        failed: &mut Option<StoreError>,
        step: impl FnOnce(&mut A) -> Result<T, StoreError>,
    ) -> T {
        if self.put_off.is_some_and(|until| now < until) {
            return T::default();
        }
        let made = step(&mut self.agent);
        self.put_off = made.is_err().then(|| now + LOOK_EVERY);
        made.unwrap_or_else(|error| {
            if failed.is_none() || matches!(error, StoreError::Stopped) {
                *failed = Some(error);
            }
            T::default()
        })
    }
}

/// The agents, one step of each at a time.
pub(crate) struct Worker {
    bulk: Turns<BulkAgent>,
    skipping: Turns<SkippingAgent>,
    retention: Turns<RetentionAgent>,
    shedding: Turns<SheddingAgent>,
    rollups: Turns<RollupAgent>,
    alerts: Turns<AlertAgent>,
    /// None where nobody asked for them: in tests of the others.
    backups: Turns<Option<BackupAgent>>,
    /// The sum of the rests between the steps.
    rested: Duration,
}

impl Worker {
    pub fn new(
        store: Store,
        config: Live,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        notices: Notices,
    ) -> Self {
        let reader = store.reader();
        let sources = AlertSources {
            store: store.clone(),
            reader: reader.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            notices,
        };
        let shedding = SheddingAgent::new(
            store.clone(),
            reader.clone(),
            config.clone(),
            Arc::clone(&clock),
        );
        let rollups = RollupAgent::new(store.clone(), metrics, Arc::clone(&clock));
        let bulk = BulkAgent::new(store.clone(), reader.clone(), config.clone());
        let skipping = SkippingAgent::new(store.clone(), reader.clone(), config.clone());
        Self {
            backups: Turns::of(None),
            alerts: Turns::of(AlertAgent::new(config.clone(), sources)),
            rollups: Turns::of(rollups),
            bulk: Turns::of(bulk),
            skipping: Turns::of(skipping),
            shedding: Turns::of(shedding),
            retention: Turns::of(RetentionAgent::new(store, reader, config, clock)),
            rested: Duration::ZERO,
        }
    }

    /// The same with backups.
    pub fn with_backups(mut self, backups: BackupAgent) -> Self {
        self.backups = Turns::of(Some(backups));
        self
    }

    /// Makes a step of each agent that has work; how long to rest after it, and a failure.
    pub fn step(&mut self) -> (Duration, Option<StoreError>) {
        let (now, mut failure) = (self.rested, None);
        let failed = &mut failure;
        let skipping = self.skipping.take(now, failed, SkippingAgent::run_once);
        let bulk = self.bulk.take(now, failed, BulkAgent::run_once);
        let retention = self.retention.take(now, failed, RetentionAgent::run_once);
        let shedding = self.shedding.take(now, failed, SheddingAgent::run_once);
        let rollups = self.rollups.take(now, failed, RollupAgent::run_once);
        self.backups.take(now, failed, |backups| {
            backups.as_mut().map_or(Ok(()), BackupAgent::run_once)
        });
        self.alerts.take(now, failed, AlertAgent::run_once);
        let rest = pauses::after(&[skipping, bulk, retention, shedding, rollups]);
        self.rested += rest;
        (rest, failure)
    }

    /// Whether an agent failed in its last turn.
    fn is_failing(&self) -> bool {
        let put_off = [
            self.skipping.put_off,
            self.bulk.put_off,
            self.retention.put_off,
            self.shedding.put_off,
            self.rollups.put_off,
            self.backups.put_off,
            self.alerts.put_off,
        ];
        put_off.iter().any(Option::is_some)
    }

    /// Makes a step of each agent that has work; how long to rest after it.
    #[cfg(test)]
    pub fn run_once(&mut self) -> Result<Duration, StoreError> {
        let (rest, failed) = self.step();
        failed.map_or(Ok(rest), Err)
    }

    /// Writes what is still in memory, at the end.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        if let Some(backups) = &mut self.backups.agent {
            backups.finish();
        }
        self.rollups.agent.finish()
    }

    /// Whether nothing is left that may be shed, although there is too much.
    #[cfg(test)]
    pub fn is_out_of_room(&self) -> bool {
        self.shedding.agent.is_stuck()
    }

    /// Whether a sweep of retention is under way.
    #[cfg(test)]
    pub fn is_sweeping(&self) -> bool {
        self.retention.agent.is_sweeping()
    }
}

/// Starts maintenance on a thread of its own. It ends after the step under way when it is asked to.
pub(crate) fn start(mut worker: Worker, stop: Stop, fatal: Fatal) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-maintenance".to_owned());
    running.spawn(thread, move || {
        let run = std::panic::AssertUnwindSafe(|| {
            let mut rest = Duration::ZERO;
            let mut is_failing = false;
            while !stop.wait(rest) {
                let (next, failed) = worker.step();
                rest = next;
                match failed {
                    Some(StoreError::Stopped) => return,
                    Some(error) if !is_failing => {
                        log::warn!(error:% = error; "maintenance is put off");
                    }
                    Some(_) | None => {}
                }
                is_failing = worker.is_failing();
            }
            match worker.finish() {
                // The reason why the store has stopped is in the log already.
                Ok(()) | Err(StoreError::Stopped) => {}
                Err(error) => {
                    log::warn!(error:% = error; "the counts of the last seconds are lost");
                }
            }
        });
        if std::panic::catch_unwind(run).is_err() {
            fatal.raise("maintenance panicked");
        }
    })?;
    Ok(ended)
}
