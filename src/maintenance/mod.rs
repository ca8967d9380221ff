//! The store's work besides accepting and delivering, in small steps with pauses between them, so
//! that neither ingestion nor delivery has to wait.
//!
//! - `retention`: deletes what is finished after its time. `bulk`: bulk operations on dead letters.
//!   `skipping`: dead letters that no longer block others. `pauses`: between the steps.

mod bulk;
mod pauses;
mod retention;
mod skipping;

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
pub(crate) use self::retention::LONGEST_PAUSE;

use self::bulk::BulkAgent;
use self::pauses::{LOOK_EVERY, REST};
use self::retention::RetentionAgent;
use self::skipping::SkippingAgent;
use crate::clock::Clock;
use crate::config::Live;
use crate::ops::fatal::Fatal;
use crate::stop::{Ending, Stop};
use crate::store::{Store, StoreError};

/// The agents, one step of each at a time.
pub(crate) struct Worker {
    bulk: BulkAgent,
    skipping: SkippingAgent,
    retention: RetentionAgent,
}

impl Worker {
    pub fn new(store: Store, config: Live, clock: Arc<dyn Clock>) -> Self {
        let reader = store.reader();
        Self {
            bulk: BulkAgent::new(store.clone(), reader.clone(), config.clone()),
            skipping: SkippingAgent::new(store.clone(), reader.clone(), config.clone()),
            retention: RetentionAgent::new(store, reader, config, clock),
        }
    }

    /// Makes a step of each agent that has work; how long to rest after it.
    pub fn run_once(&mut self) -> Result<Duration, StoreError> {
        let skipping = self.skipping.run_once()?;
        let bulk = self.bulk.run_once()?;
        let retention = self.retention.run_once()?;
        if bulk == Some(REST) {
            return Ok(REST);
        }
        Ok(skipping.or(retention).or(bulk).unwrap_or(LOOK_EVERY))
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
        });
        if std::panic::catch_unwind(run).is_err() {
            fatal.raise("maintenance panicked");
        }
    })?;
    Ok(ended)
}
