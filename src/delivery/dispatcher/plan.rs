//! What is to be claimed next, and for whom.

use std::collections::hash_map::Entry;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::fair::{Candidate, share_out};
use super::super::ops::{Due, Want};
use super::super::target::Target;
use super::{ADHOC_LABELS, Dispatcher, MAX_TARGETS, REFUSED_PAUSE, State, WAITING};
use crate::clock::Timestamp;

/// What is to be claimed.
#[derive(Default)]
pub(super) struct Plan {
    pub wants: Vec<Want>,
    /// When to look again at those that had to wait.
    pub look_again: Option<Duration>,
    /// Whether somebody got all that was counted, and may have more.
    pub is_cut_short: bool,
}

impl Dispatcher {
    /// What to claim: one for each destination in turn, until there is no free worker or nobody
    /// may have more.
    pub(super) fn plan(&mut self) -> Plan {
        let now = self.context.clock.now();
        let free = self.free_workers();
        let room = self.room();
        // Counting costs as much as claiming, and among many nobody gets much.
        let counted = (2 * room).div_ceil(self.places.max(1)).clamp(1, room);
        let due = match self
            .context
            .store
            .read_blocking(|sql| Due::read(sql, now, counted))
        {
            Ok(due) => due,
            Err(error) => {
                log::warn!(error:% = error; "what is due can't be read");
                return Plan {
                    look_again: Some(REFUSED_PAUSE),
                    ..Plan::default()
                };
            }
        };
        self.forget_idle(&due);
        self.admission.new_round();
        let mut pauses = Vec::new();
        let mut ready = VecDeque::new();
        let mut stays = Vec::new();
        for due in due {
            let opens_at = due.held_until.max(Some(due.next_attempt_at));
            let (is_paused, is_held) = (due.is_paused, due.held_until > Some(now));
            let count = due.ready;
            let state = self.state(&due, now);
            let (target, in_flight) = (Arc::clone(&state.target), state.in_flight);
            let waiting = state.waiting;
            if is_paused || is_held {
                self.admission.kept_waiting(&target);
                // What was claimed ahead stays, too.
                stays.extend((waiting > 0).then_some(target.id));
            }
            if is_paused || !target.is_known() {
                continue;
            }
            match opens_at {
                Some(at) if at > now => pauses.push(at.since(now)),
                _ => ready.push_back(Candidate {
                    target,
                    in_flight,
                    waiting,
                    ready: count,
                    share: 0,
                }),
            }
        }
        if !stays.is_empty() {
            self.pool.recall(stays);
            pauses.push(Duration::ZERO);
        }
        self.places = ready.len();
        ready.rotate_left(self.round % self.places.max(1));
        self.round = self.round.wrapping_add(1);
        let admission = &mut self.admission;
        let shares = share_out(free, ready, |candidate| {
            match admission.admit(&candidate.target, candidate.in_flight + candidate.share) {
                Ok(()) => true,
                Err(wait) => {
                    pauses.extend(wait);
                    false
                }
            }
        });
        let mut plan = Plan {
            look_again: pauses.into_iter().min(),
            ..Plan::default()
        };
        // Who waits behind an attempt keeps its worker from the others: not while they want it.
        let given: usize = shares.iter().map(|candidate| candidate.share).sum();
        let wanting = shares
            .iter()
            .filter(|candidate| candidate.share < candidate.ready);
        let is_contended = given == free && wanting.count() > 1;
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

    /// Beyond a number, destinations are forgotten that have nothing under way and nothing waiting.
    fn forget_idle(&mut self, due: &[Due]) {
        if self.targets.len() < MAX_TARGETS {
            return;
        }
        let waiting: HashSet<i64> = due.iter().map(|due| due.destination).collect();
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
