//! Makes room under `database.max_bytes`: sheds finished events, the oldest first, and watches how
//! fast the database grows.

use std::sync::Arc;
use std::time::Duration;

use super::pauses::{REST, REST_FROM_LOOKING};
use crate::clock::Clock;
use crate::config::Live;
use crate::store::{Growth, Reader, Shed, ShedCursor, SpaceSample, Store, StoreError};

/// How often the space is measured: two pragmas.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// When it is remembered first: a process that ends at once leaves nothing.
const FIRST_SAMPLE: Duration = Duration::from_secs(60);
/// How often it is remembered for the forecast.
const SAMPLE_EVERY: Duration = Duration::from_secs(600);
/// Shedding begins above this share of `max_bytes`, in percent, and ends at the second.
const BEGIN: u64 = 90;
const END: u64 = 80;
/// The pause after a pass that found nothing, in lengths of that pass: looking through millions of
/// events takes a tenth of a reader's time at most.
const PAUSE: u32 = 10;
/// The least such pause.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

/// Sheds events while too much space is used.
pub(super) struct SheddingAgent {
    store: Store,
    reader: Reader,
    config: Live,
    clock: Arc<dyn Clock>,
    measure_at: Duration,
    sample_at: Duration,
    /// The samples of the last week, as they were read last.
    samples: Vec<SpaceSample>,
    /// The pass under way, while there is too much.
    pass: Option<Pass>,
    /// The next pass continues here: what it has met, the one before has.
    cursor: ShedCursor,
    next_pass: Duration,
    /// Found, and not yet shed.
    shedding: Option<Shed>,
    /// Whether it was said that nothing can be shed.
    is_stuck: bool,
}

struct Pass {
    began: Duration,
    /// Whether it began in the middle, so that it goes on from the beginning at the end.
    is_second_half_left: bool,
    shed: usize,
}

impl SheddingAgent {
    pub fn new(store: Store, reader: Reader, config: Live, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            reader,
            config,
            measure_at: Duration::ZERO,
            sample_at: clock.monotonic() + FIRST_SAMPLE,
            samples: Vec::new(),
            pass: None,
            cursor: ShedCursor::START,
            next_pass: Duration::ZERO,
            shedding: None,
            is_stuck: false,
            clock,
        }
    }

    /// Makes a step; how long to rest after it, if events are being shed.
    pub fn run_once(&mut self) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.monotonic();
        let max = self.config.current().database.max_bytes;
        self.store.set_max_bytes(max);
        if now >= self.measure_at {
            self.measure_at = now + MEASURE_EVERY;
            self.measure(now, max)?;
        }
        let Some(max) = max.filter(|_| self.store.leads()) else {
            self.pass = None;
            self.shedding = None;
            return Ok(None);
        };
        if self.pass.is_none() {
            let used = self.store.space_use().used;
            if !is_over(used, max, BEGIN) || now < self.next_pass {
                return Ok(None);
            }
            // The log may be all that is too much.
            self.store.empty_wal()?;
            if !is_over(self.used()?, max, BEGIN) {
                return Ok(None);
            }
            self.begin(now, used, max);
        }
        self.step(now, max).map(Some)
    }

    fn begin(&mut self, now: Duration, used: u64, max: u64) {
        log::info!(
            used_bytes = used, max_bytes = max;
            "the database nears database.max_bytes: the payloads of the oldest finished events are \
             deleted"
        );
        if self.cursor == ShedCursor::End {
            self.cursor = ShedCursor::START;
        }
        self.pass = Some(Pass {
            began: now,
            is_second_half_left: self.cursor != ShedCursor::START,
            shed: 0,
        });
    }

    /// Whether it was said that nothing can be shed.
    #[cfg(test)]
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Sheds what was found, or looks for more.
    fn step(&mut self, now: Duration, max: u64) -> Result<Duration, StoreError> {
        if let Some(shedding) = &mut self.shedding {
            if self.store.shed(shedding)? {
                return Ok(REST);
            }
            if let Some(pass) = &mut self.pass {
                pass.shed += shedding.made;
            }
            self.shedding = None;
            if self.has_enough(max)? {
                self.end(now, max);
            }
            return Ok(REST_FROM_LOOKING);
        }
        if self.cursor == ShedCursor::End {
            self.at_end(now, max)?;
            return Ok(REST_FROM_LOOKING);
        }
        let keys = self
            .clock
            .now()
            .minus(self.config.current().longest_window());
        let found = self.reader.sheddable(keys, self.cursor)?;
        self.cursor = found.next;
        self.shedding = Shed::new(found);
        Ok(REST_FROM_LOOKING)
    }

    /// Whether enough room was made. The log, which the deletions have filled, is emptied before
    /// more events are shed for its sake.
    fn has_enough(&self, max: u64) -> Result<bool, StoreError> {
        if is_over(self.reader.used_pages()?, max, END) {
            return Ok(false);
        }
        if !is_over(self.used()?, max, END) {
            return Ok(true);
        }
        self.store.empty_wal()?;
        Ok(!is_over(self.used()?, max, END))
    }

    /// Enough is free.
    fn end(&mut self, now: Duration, max: u64) {
        let Some(pass) = self.pass.take() else { return };
        self.is_stuck = false;
        let took = now.saturating_sub(pass.began);
        log::info!(
            shed = pass.shed, seconds = took.as_secs(), max_bytes = max;
            "finished events were shed: there is room again"
        );
    }

    /// The last event was looked at, and there is still too much: the pass goes on from the
    /// beginning, where events have been finished meanwhile, or another one begins later.
    fn at_end(&mut self, now: Duration, max: u64) -> Result<(), StoreError> {
        self.cursor = ShedCursor::START;
        let Some(pass) = &mut self.pass else {
            return Ok(());
        };
        if std::mem::take(&mut pass.is_second_half_left) {
            return Ok(());
        }
        let took = now.saturating_sub(pass.began);
        self.next_pass = now + (took * PAUSE).max(SHORTEST_PAUSE);
        let shed = pass.shed;
        self.pass = None;
        // The deleted rows may still be in the log.
        self.store.empty_wal()?;
        let used = self.used()?;
        if is_over(used, max, BEGIN) && !std::mem::replace(&mut self.is_stuck, true) {
            log::warn!(
                shed, used_bytes = used, max_bytes = max;
                "the database nears database.max_bytes, and nothing is left that may be shed: what \
                 waits and dead letters are kept, and new events are refused once it is full"
            );
        }
        Ok(())
    }

    /// Measures the space, and publishes what is forecast.
    fn measure(&mut self, now: Duration, max: Option<u64>) -> Result<(), StoreError> {
        let used = self.used()?;
        if now >= self.sample_at {
            self.sample_at = now + SAMPLE_EVERY;
            self.sample(used)?;
        }
        let min_free = self.config.current().database.min_free_bytes;
        let left = Growth {
            samples: self.samples.clone(),
            now: SpaceSample {
                at: self.clock.now(),
                used,
            },
        };
        let free = self.store.free_bytes();
        self.store
            .publish_forecast(left.full_in(max, free, min_free));
        Ok(())
    }

    /// Reads the samples, and adds one.
    fn sample(&mut self, used: u64) -> Result<(), StoreError> {
        self.samples = self.reader.space_samples()?;
        // An idle relay writes nothing.
        let has_changed = self.samples.last().is_none_or(|last| last.used != used);
        if has_changed && self.store.leads() {
            self.store.sample_space(used)?;
        }
        Ok(())
    }

    /// Measures the used space, and publishes it.
    fn used(&self) -> Result<u64, StoreError> {
        let (_, wal) = self.store.file_sizes();
        let used = self.reader.used_pages()?.saturating_add(wal);
        self.store.publish_used(used);
        Ok(used)
    }
}

/// Whether more than this share of `max` is used.
fn is_over(used: u64, max: u64, percent: u64) -> bool {
    u128::from(used) * 100 > u128::from(max) * u128::from(percent)
}
