//! Decides which deliveries are attempted next. One tick settles what workers have done, looks at
//! destinations that may have something due, and claims for them, all in one transaction. Tests
//! drive the tick, production the loop around it.

mod completions;
mod gauges;
mod plan;
mod schedule;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gauges::StateGauges;
use plan::Plan;
pub(super) use plan::looks_at_first;
pub(super) use schedule::{Lane, Origin, Schedule};
pub(super) use waiting::SCAN_STEP;

use crate::delivery::Context;
use crate::delivery::admission::Admission;
use crate::delivery::levels::Parts;
use crate::delivery::ops::{Claimed, HANDED_BACK_FOR, HandBack, Settlement, Shipment, Turn, Want};
use crate::delivery::outage_log::{OutageLog, Outages};
use crate::delivery::pool::{Freight, Job, Pool};
use crate::delivery::target::Target;
use crate::stop::Deadline;
use crate::store::{Reader, StoreError};

/// The longest that the dispatcher pauses: whatever the wall clock jumps over is noticed this late at
/// most. A paused or held destination is looked at as often, since another process may resume it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after the store refused a turn: nothing is claimed while outcomes can't be recorded.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// Ad hoc origins that metrics tell apart; further ones share a label.
const ADHOC_LABELS: usize = 16;
/// States that are kept of destinations with nothing in flight, some 500 bytes each.
const MAX_STATES: usize = 4096;
/// Deliveries that may wait behind each attempt to a quick destination: enough for a worker to be busy
/// while commits go by that also carry what comes in. With three of them a pipeline under load settled a
/// ninth to a fifth less, and fell behind by half; more than eight brought nothing (measured).
pub(super) const WAITING: usize = 8;

/// What has up to so many bytes, headers included, is loaded when it is claimed, all of a turn at once;
/// what is larger by the worker that sends it. So what waits takes 4 MiB with 64 workers.
pub(super) const SMALL: i64 = 8 * 1024;

pub(super) struct Dispatcher {
    context: Context,
    reader: Reader,
    admission: Box<dyn Admission>,
    pool: Pool,
    states: HashMap<i64, DestinationState>,
    schedule: Schedule,
    gauges: StateGauges,
    outages: Outages,
    /// Destinations that became due, and whose lane isn't known yet.
    newcomers: HashSet<i64>,
    /// The destination after which the scan under way goes on.
    scan: Option<i64>,
    /// When the last scan began, by the steady clock.
    scanned_at: Duration,
    /// Origins with a label of their own in the metrics.
    adhoc_labels: HashSet<String>,
    /// Workers that origins of ad hoc URLs may have besides those that they have.
    adhoc_room: usize,
    adhoc_in_flight: usize,
    /// All that is claimed.
    in_flight: HashMap<(i64, i64), HandBack>,
    /// How many of those wait to begin.
    waiting: usize,
    /// Outcomes that are known and not yet durable. They are kept until they are.
    unsettled: Vec<Settlement>,
    hand_backs: Vec<HandBack>,
    /// Destinations whose breaker was open, and which have none any more.
    unbroken: Vec<i64>,
    next_claim: i64,
    /// Destinations that the last tick looked at.
    looked_at: usize,
    /// Whether the last turn was refused, so that it is logged once.
    is_refused: bool,
    /// Whether nothing can be recorded any more: the store has stopped or is broken.
    is_over: bool,
}

struct DestinationState {
    target: Arc<Target>,
    origin: Origin,
    /// Attempts under way.
    in_flight: usize,
    /// Claimed, each to begin in the place of one of those.
    prefetched: usize,
    /// When something was claimed ahead last, by the steady clock.
    claimed_at: Duration,
    outage: OutageLog,
    /// Whether its breaker is open.
    is_broken: bool,
}

/// What a pass leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    pub claimed: usize,
    pub settled: usize,
    /// When to look again, if nothing happens before.
    pub look_again: Option<Duration>,
}

impl Dispatcher {
    pub fn new(context: Context, parts: Parts, pool: Pool) -> Self {
        Self {
            gauges: StateGauges::new(Arc::clone(&context.metrics)),
            reader: context.store.reader(),
            context,
            admission: parts.admission,
            pool,
            states: HashMap::new(),
            outages: Outages::default(),
            schedule: Schedule::default(),
            newcomers: HashSet::new(),
            scan: Some(0),
            scanned_at: Duration::ZERO,
            adhoc_labels: HashSet::new(),
            adhoc_room: 0,
            adhoc_in_flight: 0,
            in_flight: HashMap::new(),
            waiting: 0,
            unsettled: Vec::new(),
            hand_backs: Vec::new(),
            unbroken: Vec::new(),
            // Of an earlier process nothing is claimed any more, so any beginning will do; a random
            // one makes a mistake there visible.
            next_claim: (i64::from(rand::random::<u32>()) << 24) + 1,
            looked_at: 0,
            is_refused: false,
            is_over: false,
        }
    }

    /// Passes until told to stop, then stops in order.
    pub fn run(&mut self) {
        let mut wait = Duration::ZERO;
        loop {
            self.context.wake.wait(wait);
            if let Some(deadline) = self.context.stop.deadline() {
                return self.stop(deadline);
            }
            let pass = self.run_once();
            if self.is_over {
                return self.pool.abort();
            }
            wait = pass.look_again.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        }
    }

    /// One tick.
    pub fn run_once(&mut self) -> Pass {
        self.recall_stuck();
        self.take_done();
        self.say_due();
        let is_refreshed = self.refresh();
        let Plan {
            wants,
            mut look_again,
            is_cut_short,
            leaves_unseen,
        } = if self.has_room() {
            self.plan()
        } else {
            Plan::default()
        };
        // What was looked up knows nothing of the retries that this very turn schedules.
        let now = self.context.clock.now();
        let retries = self.unsettled.iter().filter_map(|s| s.next_attempt_at);
        let next_retry = retries.min().map(|at| at.since(now));
        // Nor of what it hands back.
        let waits = |back: &HandBack| match back.due {
            Some(_) => Duration::ZERO,
            None => HANDED_BACK_FOR,
        };
        let handed_back = self.hand_backs.iter().map(waits).min();
        let scheduled = self.schedule.next_look().map(|at| at.since(now));
        look_again = [look_again, next_retry, handed_back, scheduled]
            .into_iter()
            .flatten()
            .min();
        if !is_refreshed {
            look_again = Some(REFUSED_PAUSE);
        } else if self.scan.is_some() {
            look_again = Some(Duration::ZERO);
        }
        let Some((claimed, settled)) = self.turn(&wants) else {
            return Pass {
                look_again: Some(REFUSED_PAUSE),
                ..Pass::default()
            };
        };
        let has_more = is_cut_short && claimed > 0 && self.has_room();
        // A claim was refused, by what this very turn wrote: its worker is somebody else's.
        let has_more = has_more || leaves_unseen && self.free_workers() > 0;
        if has_more || !self.hand_backs.is_empty() {
            look_again = Some(Duration::ZERO);
        }
        Pass {
            claimed,
            settled,
            look_again,
        }
    }

    /// Outcomes that are known and not yet durable.
    #[cfg(test)]
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Whether nothing is claimed, and nobody counts as busy or waiting.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let states = &mut self.states.values();
        self.in_flight.is_empty()
            && self.waiting == 0
            && states.all(|state| state.in_flight + state.prefetched == 0)
    }

    fn busy_workers(&self) -> usize {
        self.in_flight.len() - self.waiting
    }

    fn free_workers(&self) -> usize {
        self.pool.workers().saturating_sub(self.busy_workers())
    }

    /// Whether more could be claimed: for a free worker, or to wait for a busy one.
    fn has_room(&self) -> bool {
        self.room() > 0
    }

    fn room(&self) -> usize {
        ((1 + WAITING) * self.pool.workers()).saturating_sub(self.in_flight.len())
    }

    /// Settles, hands back and claims, and gives out what was claimed. None if the store refused:
    /// then what isn't durable is kept for the next turn.
    fn turn(&mut self, wants: &[Want]) -> Option<(usize, usize)> {
        if self.unsettled.is_empty()
            && self.hand_backs.is_empty()
            && self.unbroken.is_empty()
            && wants.is_empty()
        {
            return Some((0, 0));
        }
        let claim = self.next_claim;
        self.next_claim += 1;
        let settlements = std::mem::take(&mut self.unsettled);
        let settled = settlements.len();
        let mut turn = Turn::new(
            settlements,
            std::mem::take(&mut self.hand_backs),
            self.unbroken.clone(),
            wants.to_vec(),
            claim,
        );
        let written = self.context.store.write_steps(&mut turn);
        let (settlements, hand_backs) = turn.durable();
        self.schedule_again(settlements, hand_backs);
        match written {
            Ok(()) => {
                let claimed = turn.into_claimed();
                let counts = (claimed.len(), settled);
                self.is_refused = false;
                self.unbroken.clear();
                self.give_out(claimed);
                self.release(wants);
                Some(counts)
            }
            Err(error) => {
                (self.unsettled, self.hand_backs) = turn.into_unfinished();
                if matches!(error, StoreError::Sqlite(_) | StoreError::Unexpected(_)) {
                    // It would be refused for ever. The next start hands back what is claimed.
                    self.is_over = true;
                    self.context
                        .fatal
                        .raise(format!("outcomes can't be recorded: {error}"));
                } else if matches!(error, StoreError::Stopped) {
                    self.is_over = true;
                } else if !self.is_refused {
                    log::warn!(error:% = error, outcomes = self.unsettled.len(); "outcomes can't be recorded: nothing is delivered until they can");
                }
                self.is_refused = true;
                // Whatever they did couldn't be recorded either.
                self.pool.recall(self.states.keys().copied());
                self.release(wants);
                None
            }
        }
    }

    fn give_out(&mut self, claimed: Vec<Claimed>) {
        if claimed.is_empty() {
            return;
        }
        let shipments = self.reader.read(|sql| {
            let load = |claimed: &Claimed| Shipment::load_small(sql, claimed.intent, SMALL);
            Ok(claimed.iter().map(load).collect::<Vec<_>>())
        });
        let Ok(shipments) = shipments else {
            // Nothing is wrong with the deliveries, and they spend no attempt.
            self.hand_backs
                .extend(claimed.iter().map(|claimed| HandBack {
                    intent: claimed.intent,
                    destination: claimed.destination,
                    claim: claimed.claim,
                    due: None,
                }));
            return;
        };
        let (mut jobs, mut waiting) = (Vec::with_capacity(claimed.len()), Vec::new());
        for (claimed, shipment) in claimed.into_iter().zip(shipments) {
            let state = self
                .states
                .get_mut(&claimed.destination)
                .expect("only known destinations are claimed for, and none is forgotten meanwhile");
            let freight = match shipment {
                Ok(Some(shipment)) => Freight::Here(Arc::new(shipment)),
                Ok(None) => Freight::Stored,
                Err(error) => Freight::Lost(error.to_string().into()),
            };
            let job = Job {
                intent: claimed.intent,
                target: Arc::clone(&state.target),
                claim: claimed.claim,
                due: claimed.due,
                attempt: claimed.attempt,
                history: claimed.history,
                freight,
            };
            self.in_flight
                .insert((claimed.intent, claimed.destination), hand_back(&job));
            if claimed.claim > 0 {
                state.in_flight += 1;
                self.adhoc_in_flight += usize::from(!state.origin.is_named);
                self.admission.began(&state.target);
                jobs.push(job);
            } else {
                state.prefetched += 1;
                state.claimed_at = self.context.clock.monotonic();
                self.waiting += 1;
                waiting.push(job);
            }
        }
        for destination in self.pool.submit(jobs, waiting) {
            self.begins(destination);
        }
        self.context.metrics.workers_busy(self.busy_workers());
    }

    /// Claims nothing more, settles what finishes by the deadline, and hands back the rest: an
    /// attempt interrupted by a stop is not a failed one.
    fn stop(&mut self, deadline: Deadline) {
        self.pool.recall(self.states.keys().copied());
        loop {
            self.take_done();
            self.turn(&[]);
            let left = deadline.left();
            // Nothing that comes of them could be recorded.
            self.is_over |= self.context.store.ended().wait(&Deadline::now());
            let is_all_settled = self.in_flight.is_empty()
                && self.unsettled.is_empty()
                && self.hand_backs.is_empty();
            if is_all_settled || left.is_zero() || self.is_over {
                break;
            }
            let pause = if self.is_refused {
                REFUSED_PAUSE
            } else {
                LOOK_EVERY
            };
            self.context.wake.wait(left.min(pause));
        }
        if !self.in_flight.is_empty() && !self.is_over {
            log::warn!(attempts = self.in_flight.len(); "attempts were still under way at the end of server.shutdown_grace: they are handed back");
            self.hand_backs
                .extend(self.in_flight.drain().map(|(_, back)| back));
            self.turn(&[]);
        }
        self.pool.abort();
    }
}

fn hand_back(job: &Job) -> HandBack {
    HandBack {
        intent: job.intent,
        destination: job.target.id,
        claim: job.claim,
        due: Some(job.due),
    }
}
