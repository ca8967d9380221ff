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
use self::pauses::{LOOK_EVERY, REST};
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

/// The agents, one step of each at a time.
pub(crate) struct Worker {
    bulk: BulkAgent,
    skipping: SkippingAgent,
    retention: RetentionAgent,
    shedding: SheddingAgent,
    rollups: RollupAgent,
    alerts: AlertAgent,
    /// None where nobody asked for them: in tests of the others.
    backups: Option<BackupAgent>,
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
        Self {
            backups: None,
            alerts: AlertAgent::new(config.clone(), sources),
            rollups: RollupAgent::new(store.clone(), metrics, Arc::clone(&clock)),
            bulk: BulkAgent::new(store.clone(), reader.clone(), config.clone()),
            skipping: SkippingAgent::new(store.clone(), reader.clone(), config.clone()),
            shedding: SheddingAgent::new(
                store.clone(),
                reader.clone(),
                config.clone(),
                Arc::clone(&clock),
            ),
            retention: RetentionAgent::new(store, reader, config, clock),
        }
    }

    /// The same with backups.
    pub fn with_backups(mut self, backups: BackupAgent) -> Self {
        self.backups = Some(backups);
        self
    }

    /// Makes a step of each agent that has work; how long to rest after it.
    pub fn run_once(&mut self) -> Result<Duration, StoreError> {
        // Each has its turn, whether or not another one fails.
        let skipping = self.skipping.run_once();
        let bulk = self.bulk.run_once();
        let retention = self.retention.run_once();
        let shedding = self.shedding.run_once();
        let rollups = self.rollups.run_once();
        let backups = self.backups.as_mut().map_or(Ok(()), BackupAgent::run_once);
        self.alerts.run_once()?;
        backups?;
        let (skipping, bulk, retention, rollups) = (skipping?, bulk?, retention?, rollups?);
        let shedding = shedding?;
        if bulk == Some(REST) || rollups == Some(REST) {
            return Ok(REST);
        }
        let rests = [skipping, shedding, retention, bulk];
        Ok(rests.into_iter().flatten().next().unwrap_or(LOOK_EVERY))
    }

    /// Writes what is still in memory, at the end.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        if let Some(backups) = &mut self.backups {
            backups.finish();
        }
        self.rollups.finish()
    }

    /// Whether nothing is left that may be shed, although there is too much.
    #[cfg(test)]
    pub fn is_out_of_room(&self) -> bool {
        self.shedding.is_stuck()
    }

    /// Whether a sweep of retention is under way.
    #[cfg(test)]
    pub fn is_sweeping(&self) -> bool {
        self.retention.is_sweeping()
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
                match worker.run_once() {
                    Ok(next) => {
                        rest = next;
                        is_failing = false;
                    }
                    Err(StoreError::Stopped) => return,
                    Err(error) => {
                        if !is_failing {
                            log::warn!(error:% = error; "maintenance is put off");
                        }
                        is_failing = true;
                        rest = LOOK_EVERY;
                    }
                }
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
