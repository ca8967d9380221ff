//! What is to be claimed next, and for whom.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::admission::Refusal;
use crate::delivery::dispatcher::gauges::StateGauges;
use crate::delivery::dispatcher::schedule::Origin;
use crate::delivery::dispatcher::{
    ADHOC_LABELS, DestinationState, Dispatcher, LOOK_EVERY, MAX_STATES, REFUSED_PAUSE, WAITING,
};
use crate::delivery::fair_share::{Candidate, FairShare};
use crate::delivery::ops::{Due, Kept, Want};
use crate::delivery::outage_log::OutageLog;
use crate::delivery::target::Target;

/// What is to be claimed.
#[derive(Default)]
pub(super) struct Plan {
    pub wants: Vec<Want>,
    /// When to look again at what had to wait.
    pub look_again: Option<Duration>,
    /// Whether a destination got all that was counted, and may have more.
    pub is_cut_short: bool,
    /// Whether there are ready destinations that weren't looked at, since no worker was left.
    pub leaves_unseen: bool,
}

/// So many ready destinations are always looked at: only among more than that is it certain that
/// nothing may be prefetched.
const FEW: usize = 32;

/// Looks in one tick: some 3 ms. The next tick, which comes at once, goes on.
const MAX_LOOKS: usize = 1024;

/// How many destinations are looked at in one go at first, for so many free workers: some will have
/// reached their limits. Each look costs some 3 µs (measured).
pub(in crate::delivery) fn looks_at_first(free: usize) -> usize {
    (2 * free).max(FEW)
}

impl Dispatcher {
    /// Plans claims: one for each lane in turn, until there is no free worker or nobody may have
    /// more. Looks at no more destinations than that takes.
    pub(super) fn plan(&mut self) -> Plan {
        self.forget_idle();
        let now = self.context.clock.now();
        let room = self.room();
        // Counting costs as much as claiming, and among many nobody gets much.
        let counted = (2 * room).div_ceil(self.looked_at.max(1)).clamp(1, room);
        let mut plan = Plan::default();
        let mut picks = self.schedule.picks();
        let mut shares = FairShare::of(self.free_workers());
        let mut recalls = Vec::new();
        self.admission.new_round();
        let mut at_most = looks_at_first(shares.free());
        let mut looks = 0;
        loop {
            let origins = self
                .schedule
                .pick(&mut picks, at_most, |origin| self.is_open(origin, &shares));
            if origins.is_empty() {
                break;
            }
            let read = self.reader.read(|sql| {
                let read = |origin: &Origin| Due::read(sql, origin.id, now, counted);
                origins.iter().map(read).collect::<Result<Vec<_>, _>>()
            });
            let found = match read {
                Ok(found) => found,
                Err(error) => {
                    log::warn!(error:% = error; "due deliveries can't be read");
                    plan.look_again = Some(REFUSED_PAUSE);
                    break;
                }
            };
            let due = origins.iter().zip(found);
            let candidates: Vec<Candidate> = due
                .filter_map(|(origin, due)| self.look(origin, due, now, &mut recalls))
                .collect();
            shares.offer(candidates);
            let (admission, adhoc) = (&mut self.admission, self.adhoc_room);
            let adhoc_room = adhoc.saturating_sub(shares.given_to_adhoc());
            let mut adhoc_room = adhoc_room;
            shares.go_round(|candidate| {
                let is_adhoc = !candidate.lane.is_named();
                if is_adhoc && adhoc_room == 0 {
                    return Err(Refusal::NoShare);
                }
                let in_flight = candidate.in_flight + candidate.share;
                admission.admit(&candidate.target, in_flight)?;
                adhoc_room -= usize::from(is_adhoc);
                Ok(())
            });
            looks += origins.len();
            if shares.free() == 0 || looks >= MAX_LOOKS {
                break;
            }
            at_most = (at_most * 2).min(MAX_LOOKS - looks);
        }
        self.looked_at = looks;
        plan.leaves_unseen = self
            .schedule
            .has_more(&picks, |origin| self.is_open(origin, &shares));
        if !recalls.is_empty() {
            self.pool.recall(recalls);
            plan.look_again = Some(Duration::ZERO);
        }
        let given = shares.given().clone();
        self.want(shares, counted, now, &mut plan);
        self.schedule.turn(&picks, &given);
        plan
    }

    /// Whether any destination of this kind may have a worker.
    pub(super) fn is_open(&self, origin: &Origin, shares: &FairShare) -> bool {
        let has_room = origin.is_named || shares.given_to_adhoc() < self.adhoc_room;
        // With no worker free, the first looks find out whether something may be prefetched.
        let is_full = shares.free() == 0;
        is_full || has_room && self.admission.has_room(origin.is_named, origin.is_proven)
    }

    /// Decides what is prefetched besides what each was given, and when each is looked at again.
    fn want(&mut self, shares: FairShare, counted: usize, now: Timestamp, plan: &mut Plan) {
        // Prefetched deliveries occupy a worker. Nothing is prefetched while other destinations
        // want one.
        let none_is_free = shares.free() == 0;
        let shares: Vec<Candidate> = shares.into_shares().collect();
        let wanting = shares
            .iter()
            .filter(|candidate| candidate.share < candidate.ready);
        let is_contended = none_is_free && (wanting.count() > 1 || plan.leaves_unseen);
        for candidate in shares {
            let id = candidate.target.id;
            let left = candidate.ready - candidate.share;
            let may_wait = if is_contended {
                0
            } else {
                self.admission.may_wait(&candidate.target)
            };
            let under_way = candidate.in_flight + candidate.share;
            let wait = (WAITING * under_way)
                .min(may_wait)
                .saturating_sub(candidate.waiting)
                .min(left);
            plan.is_cut_short |= candidate.ready == counted && wait == left;
            match candidate.refused {
                Some(Refusal::For(wait)) => self.schedule.look_at(id, now.plus(wait)),
                Some(Refusal::UntilAnAttemptEnds) if under_way > 0 => self.schedule.is_busy(id),
                _ => {}
            }
            if candidate.share + wait > 0 {
                plan.wants.push(Want {
                    destination: id,
                    begin: candidate.share,
                    wait,
                });
            }
        }
    }

    /// Takes in what a look has found. None if nothing may go now; the schedule then says when to
    /// look again.
    fn look(
        &mut self,
        origin: &Origin,
        due: Option<Due>,
        now: Timestamp,
        recalls: &mut Vec<i64>,
    ) -> Option<Candidate> {
        let waiting = due.and_then(|due| due.next_attempt_at.map(|at| (due, at)));
        let Some((due, next_attempt_at)) = waiting else {
            self.schedule.remove(origin.id);
            return None;
        };
        let state = self.state(origin, &due, now);
        let candidate = Candidate {
            target: Arc::clone(&state.target),
            lane: origin.lane(),
            in_flight: state.in_flight,
            waiting: state.prefetched,
            ready: due.ready,
            share: 0,
            refused: None,
        };
        let held_until = due.held_until.filter(|until| *until > now);
        if due.is_paused || held_until.is_some() {
            self.admission.kept_waiting(&candidate.target);
            if candidate.waiting > 0 {
                recalls.push(origin.id);
            }
        }
        let look_at = if due.is_paused || !candidate.target.is_known() {
            // Another process may resume it.
            Some(now.plus(LOOK_EVERY))
        } else if let Some(until) = held_until {
            Some(until.min(now.plus(LOOK_EVERY)))
        } else {
            (next_attempt_at > now).then_some(next_attempt_at)
        };
        if let Some(at) = look_at {
            self.schedule.look_at(origin.id, at);
            return None;
        }
        Some(candidate)
    }

    /// Beyond a number, destinations are forgotten that have nothing in flight. An open breaker is
    /// in the database; a failure's place in a row is lost.
    fn forget_idle(&mut self) {
        if self.states.len() < MAX_STATES {
            return;
        }
        let admission = &mut self.admission;
        self.states.retain(|id, state| {
            let is_needed = state.in_flight + state.prefetched > 0 || state.target.is_named();
            if !is_needed {
                admission.forget(*id);
            }
            is_needed
        });
    }

    /// What is known of a destination; a new one is made known.
    fn state(&mut self, origin: &Origin, due: &Due, now: Timestamp) -> &mut DestinationState {
        let state = match self.states.entry(origin.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let has_own_label =
                    self.adhoc_labels.contains(&due.name) || self.adhoc_labels.len() < ADHOC_LABELS;
                let target = Target::new(origin.id, &due.name, &self.context.config, has_own_label);
                if !target.policy.is_configured() && has_own_label {
                    self.adhoc_labels.insert(due.name.clone());
                }
                let is_broken = due
                    .probe
                    .is_some_and(|(at, wait)| self.admission.reopen(&target, at.since(now), wait));
                if due.probe.is_some() && !is_broken {
                    // It has no breaker any more.
                    self.unbroken.push(origin.id);
                }
                self.admission.restore(&target, origin.is_proven);
                let outage = OutageLog::new(&target.policy, is_broken);
                unknown.insert(DestinationState {
                    target: Arc::new(target),
                    origin: *origin,
                    in_flight: 0,
                    prefetched: 0,
                    claimed_at: Duration::ZERO,
                    outage,
                    is_broken,
                })
            }
        };
        if StateGauges::shows(&state.target) {
            let kept = Kept {
                is_paused: due.is_paused,
                held_until: due.held_until,
                is_open: state.is_broken,
            };
            let is_known = state.target.is_known();
            self.gauges.see(&state.target.label, is_known, kept, now);
        }
        state
    }
}
