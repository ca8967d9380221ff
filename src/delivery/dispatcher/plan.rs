//! What is to be claimed next, and for whom.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::super::fair::{Candidate, Sharing};
use super::super::level::Admission;
use super::super::ops::{Due, Round, Want};
use super::super::target::Target;
use super::{ADHOC_LABELS, Dispatcher, LOOK_EVERY, MAX_TARGETS, REFUSED_PAUSE, State, WAITING};
use crate::clock::Timestamp;

/// What is to be claimed.
#[derive(Default)]
pub(super) struct Plan {
    pub wants: Vec<Want>,
    /// When to look again at those that had to wait.
    pub look_again: Option<Duration>,
    /// Whether somebody got all that was counted, and may have more.
    pub is_cut_short: bool,
    /// Whether there are others, who weren't looked at since no worker was left for them.
    pub leaves_unseen: bool,
}

/// What a round has shown so far.
#[derive(Default)]
struct Seen {
    destinations: Vec<i64>,
    /// Those of them that are ready, in turn.
    ready: Vec<i64>,
    /// How long others have to wait.
    pauses: Vec<Duration>,
    /// Those from which what was claimed ahead is taken back.
    stays: Vec<i64>,
}

/// So many that are ready are all looked at in each round: only among more than that is it certain that
/// nobody may have any claimed ahead.
const FEW: usize = 32;

/// How many destinations are looked at in one go at first, for so many free workers: some will have
/// reached their limits. Each costs 2 to 3 µs (measured), and the query as much as some five.
pub(in super::super) fn places_to_see(free: usize) -> usize {
    (2 * free).max(FEW)
}

fn admits(
    admission: &mut dyn Admission,
    candidate: &Candidate,
    pauses: &mut Vec<Duration>,
) -> bool {
    match admission.admit(&candidate.target, candidate.in_flight + candidate.share) {
        Ok(()) => true,
        Err(wait) => {
            pauses.extend(wait);
            false
        }
    }
}

impl Dispatcher {
    /// What to claim: one for each destination in turn, until there is no free worker or nobody
    /// may have more. Looks at no more destinations than that takes; at all of them once in
    /// [`LOOK_EVERY`], for what others have changed.
    pub(super) fn plan(&mut self) -> Plan {
        let now = self.context.clock.now();
        let even = self.context.clock.monotonic();
        let is_recent = |at| even.saturating_sub(at) < LOOK_EVERY;
        let sees_all = self.places <= FEW || !self.all_seen_at.is_some_and(is_recent);
        let room = self.room();
        // Counting costs as much as claiming, and among many nobody gets much.
        let counted = (2 * room).div_ceil(self.places.max(1)).clamp(1, room);
        let mut plan = Plan::default();
        let mut seen = Seen::default();
        let mut round = Round::after(self.last);
        let mut sharing = Sharing::of(self.free_workers());
        self.admission.new_round();
        let mut at_most = places_to_see(sharing.free());
        loop {
            let store = &self.context.store;
            match store.read_blocking(|sql| round.next(sql, now, at_most, counted)) {
                Ok(due) => due
                    .into_iter()
                    .for_each(|due| self.offer(&due, now, &mut sharing, &mut seen)),
                Err(error) => {
                    log::warn!(error:% = error; "what is due can't be read");
                    seen.pauses.push(REFUSED_PAUSE);
                    break;
                }
            }
            if round.is_over() || !sees_all && sharing.free() == 0 {
                break;
            }
            at_most *= 2;
        }
        if round.is_over() {
            self.all_seen_at = Some(even);
            self.places = seen.ready.len();
            self.forget_idle(&seen.destinations);
        } else {
            self.places = self.places.max(seen.ready.len());
        }
        let (admission, pauses) = (&mut self.admission, &mut seen.pauses);
        sharing.go_round(|candidate| admits(&mut **admission, candidate, pauses));
        // As many places on as were given. Not after whoever got the last: those who were refused for want
        // of a worker that others may have would lose their turn whenever somebody else is served.
        if let Some(before) = sharing.given().checked_sub(1) {
            self.last = seen.ready[before % seen.ready.len()];
        }
        if !seen.stays.is_empty() {
            self.pool.recall(seen.stays);
            seen.pauses.push(Duration::ZERO);
        }
        plan.look_again = seen.pauses.into_iter().min();
        // Who waits behind an attempt keeps its worker from the others: not while they want it.
        let none_is_free = sharing.free() == 0;
        let shares: Vec<Candidate> = sharing.into_shares().collect();
        let wanting = shares
            .iter()
            .filter(|candidate| candidate.share < candidate.ready);
        plan.leaves_unseen = !round.is_over();
        let is_contended = none_is_free && (wanting.count() > 1 || plan.leaves_unseen);
        for candidate in shares {
            let left = candidate.ready - candidate.share;
            // Behind each attempt, so that no worker waits for a commit.
            let may_wait = if is_contended {
                0
            } else {
                self.admission.may_wait(&candidate.target)
            };
            let wait = (WAITING * (candidate.in_flight + candidate.share))
                .min(may_wait)
                .saturating_sub(candidate.waiting)
                .min(left);
            plan.is_cut_short |= candidate.ready == counted && wait == left;
            if candidate.share + wait > 0 {
                plan.wants.push(Want {
                    destination: candidate.target.id,
                    begin: candidate.share,
                    wait,
                });
            }
        }
        plan
    }

    /// Offers a worker to a destination, if it may have one at all.
    fn offer(&mut self, due: &Due, now: Timestamp, sharing: &mut Sharing, seen: &mut Seen) {
        seen.destinations.push(due.destination);
        let state = self.state(due, now);
        let candidate = Candidate {
            target: Arc::clone(&state.target),
            in_flight: state.in_flight,
            waiting: state.waiting,
            ready: due.ready,
            share: 0,
        };
        if due.is_paused || due.held_until > Some(now) {
            self.admission.kept_waiting(&candidate.target);
            // What was claimed ahead stays, too.
            if candidate.waiting > 0 {
                seen.stays.push(due.destination);
            }
        }
        if due.is_paused || !candidate.target.is_known() {
            return;
        }
        match due.held_until.max(Some(due.next_attempt_at)) {
            Some(at) if at > now => seen.pauses.push(at.since(now)),
            _ => {
                seen.ready.push(due.destination);
                let (admission, pauses) = (&mut self.admission, &mut seen.pauses);
                sharing.offer(candidate, |candidate| {
                    admits(&mut **admission, candidate, pauses)
                });
            }
        }
    }

    /// Beyond a number, destinations are forgotten that have nothing under way and nothing waiting.
    fn forget_idle(&mut self, waiting: &[i64]) {
        if self.targets.len() < MAX_TARGETS {
            return;
        }
        let waiting: HashSet<i64> = waiting.iter().copied().collect();
        let admission = &mut self.admission;
        self.targets.retain(|id, state| {
            let is_needed = state.in_flight + state.waiting > 0 || waiting.contains(id);
            if !is_needed {
                admission.forget(*id);
            }
            is_needed
        });
    }

    /// What is known of a destination; a new one is made known.
    fn state(&mut self, due: &Due, now: Timestamp) -> &mut State {
        let state = match self.targets.entry(due.destination) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let own_label = self.adhoc_labels < ADHOC_LABELS;
                let target = Target::new(
                    due.destination,
                    &due.name,
                    &self.context.config,
                    self.retry,
                    own_label,
                );
                if target.settings.is_none() && own_label {
                    self.adhoc_labels += 1;
                }
                let is_broken = due
                    .probe
                    .is_some_and(|(at, wait)| self.admission.reopen(&target, at.since(now), wait));
                if due.probe.is_some() && !is_broken {
                    // It has no breaker any more.
                    self.unbroken.push(due.destination);
                }
                unknown.insert(State {
                    target: Arc::new(target),
                    in_flight: 0,
                    waiting: 0,
                    claimed_at: Duration::ZERO,
                    outage: None,
                    is_broken,
                    shown: "",
                })
            }
        };
        let shown = if due.is_paused {
            "paused"
        } else if !state.target.is_known() {
            "unknown"
        } else if due.held_until.is_some_and(|until| until > now) {
            "held"
        } else if state.is_broken {
            "open"
        } else {
            "active"
        };
        if shown != state.shown {
            let name = state.target.name.as_str();
            match shown {
                "unknown" => {
                    log::warn!(destination = name; "deliveries wait for a destination that is no longer configured: add it again");
                }
                "held" => {
                    log::info!(destination = name, until:% = due.held_until.unwrap_or(now); "the destination asked to be left alone (Retry-After)");
                }
                _ => {}
            }
            // Those that share a label have no state in common.
            if state.target.label == state.target.name {
                let metrics = &self.context.metrics;
                if !state.shown.is_empty() {
                    metrics.destination_state(&state.target.label, state.shown, false);
                }
                metrics.destination_state(&state.target.label, shown, true);
            }
            state.shown = shown;
        }
        state
    }
}
