//! What the database wants done besides accepting and delivering: bulk operations and retention. In
//! small steps with pauses between them, so that neither ingestion nor delivery has to wait.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Resolved;
use crate::model::Level;
use crate::ops::fatal::Fatal;
use crate::stop::{Ending, Stop};
use crate::store::{
    BulkJob, Cutoffs, Expired, PassStep, Prune, Reader, StepJobs, Store, StoreError, TidyUp,
    UnusedOrigins,
};

/// How often it is looked whether there is anything to do: a command's new job waits so long at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the whole of what is finished is gone through.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// After a step: four times what it costs the writer, some two or three milliseconds, so that
/// maintenance has a fifth of its time at most.
const REST: Duration = Duration::from_millis(10);
/// After a look that found nothing to do: only a reader was busy.
const REST_FROM_LOOKING: Duration = Duration::from_millis(2);
/// A sweep is followed by a pause of as many times its own length, if that is longer than the usual:
/// looking through millions has a tenth of a reader's time at most.
const PAUSE: u32 = 10;
/// But no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

pub(crate) struct Worker {
    store: Store,
    reader: Reader,
    config: Arc<Resolved>,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
    sweep_began: Duration,
    next_sweep: Duration,
    /// Found to be expired, and not yet deleted.
    pruning: Option<Prune>,
    unused_origins: UnusedOrigins,
    /// The next bulk job is looked for after this one.
    after_job: i64,
}

/// How far the sweep is.
#[derive(Clone, Copy)]
struct Sweep {
    is_under_way: bool,
    /// Intents up to this one are through; none: all are.
    intent: Option<i64>,
    /// The same of keys.
    key: Option<(i64, i64)>,
    /// Whether ad hoc origins are through.
    is_origins_done: bool,
}

impl Sweep {
    const BEGINNING: Self = Self {
        is_under_way: true,
        intent: Some(0),
        key: Some((i64::MIN, 0)),
        is_origins_done: false,
    };
}

impl Worker {
    pub fn new(store: Store, config: Arc<Resolved>, clock: Arc<dyn Clock>) -> Self {
        Self {
            reader: store.reader(),
            store,
            config,
            sweep_began: clock.monotonic(),
            clock,
            sweep: Sweep::BEGINNING,
            next_sweep: Duration::ZERO,
            pruning: None,
            unused_origins: UnusedOrigins::new(),
            after_job: 0,
        }
    }

    /// Does a step of whatever there is to do; how long to rest after it.
    pub fn run_once(&mut self) -> Result<Duration, StoreError> {
        let mut rest = None;

        if self.reader.read(BulkJob::is_any_under_way)? {
            let stepped = self.store.write_blocking(StepJobs {
                is_paced: self.config.level() != Level::Off,
                after: self.after_job,
            })?;
            self.after_job = stepped.after.unwrap_or(0);
            rest = Some(if stepped.done > 0 || stepped.after.is_some() {
                REST
            } else {
                LOOK_EVERY / 10
            });
        }
        if self.sweep.is_under_way {
            let has_deleted = self.sweep()?;
            rest = Some(if has_deleted || rest == Some(REST) {
                REST
            } else {
                REST_FROM_LOOKING
            });
        } else if self.clock.monotonic() >= self.next_sweep {
            self.sweep = Sweep::BEGINNING;
            self.sweep_began = self.clock.monotonic();
            rest = Some(REST_FROM_LOOKING);
        }
        Ok(rest.unwrap_or(LOOK_EVERY))
    }

    /// Goes on; whether anything was deleted.
    fn sweep(&mut self) -> Result<bool, StoreError> {
        if let Some(pruning) = &mut self.pruning {
            if self.store.write_step(pruning)? {
                return Ok(true);
            }
            self.pruning = None;
        }
        let now = self.clock.now();
        let retention = &self.config.retention;
        let cutoffs = Cutoffs {
            delivered: retention.delivered.map(|kept| now.minus(kept)),
            dead_lettered: retention.dead_lettered.map(|kept| now.minus(kept)),
            keys: now.minus(self.config.api.idempotency_window),
        };
        let sweep = self.sweep;
        if sweep.intent.is_some() || sweep.key.is_some() {
            let found = self
                .reader
                .read(move |sql| Expired::find(sql, &cutoffs, sweep.intent, sweep.key))?;
            self.sweep.intent = found.next_intent;
            self.sweep.key = found.next_key;
            if found.count() != (0, 0) {
                self.pruning = Some(Prune::new(found));
                return Ok(false);
            }
        }
        if self.sweep.intent.is_some() || self.sweep.key.is_some() {
            return Ok(false);
        }
        if !self.sweep.is_origins_done {
            let step = self.unused_origins.step(now, &self.reader, &self.store)?;
            self.sweep.is_origins_done = step == PassStep::Over;
            return Ok(step == PassStep::Deleted);
        }
        // The last thing: what has become free goes back to the file system, a step at a time.
        let left = self.store.write_blocking(TidyUp)?;
        if left > 0 {
            return Ok(true);
        }
        let now = self.clock.monotonic();
        let took = now.saturating_sub(self.sweep_began);
        self.sweep.is_under_way = false;
        self.next_sweep = now + (took * PAUSE).clamp(RETENTION_EVERY, LONGEST_PAUSE);
        Ok(false)
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

#[cfg(test)]
mod tests;
