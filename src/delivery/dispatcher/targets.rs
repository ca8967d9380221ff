//! The destinations that the dispatcher knows.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{DestinationPolicy, Live};
use crate::delivery::admission::{Admission, Remembered, Replaced};
use crate::delivery::dispatcher::ledger::Ledger;
use crate::delivery::dispatcher::plan::LOOK_EVERY;
use crate::delivery::outage_log::OutageLog;
use crate::delivery::target::Target;
use crate::model::TargetUrl;
use crate::store::Origin;
use crate::store::{DestinationBacklog, DestinationId};

/// Ad hoc origins that metrics tell apart; further ones share a label.
const ADHOC_LABELS: usize = 16;
/// Ad hoc origins that are kept with nothing claimed for them, some 500 bytes each.
const MAX_IDLE: usize = 4096;
/// The same of those that have something to lose: more than one API key may have waiting
/// (`MAX_WAITING_ORIGINS`).
const MAX_REMEMBERED: usize = 32 * 1024;
/// Origins that are taken up before all are walked through again: a walk through the most that are
/// kept costs each of them less than its look.
const WALK_EVERY: usize = 1024;

/// A destination, and what this process has seen of it.
pub(super) struct DestinationState {
    pub target: Arc<Target>,
    pub origin: Origin,
    pub outage: OutageLog,
    pub is_breaker_open: bool,
    /// The URL that it had last, also while it is not configured: by it a reload sees whether the
    /// destination has moved.
    last_url: Option<TargetUrl>,
    /// When the breaker's next probe was due by the database, at the last look: another value there
    /// is news.
    probe_at: Option<Timestamp>,
    /// The handovers until it was taken up.
    handovers: u32,
    /// When something was last found to wait for it, by the monotonic clock.
    seen_at: Duration,
}

impl DestinationState {
    /// The kind of a replacement by this policy.
    pub fn replaced_by(&self, policy: &DestinationPolicy) -> Replaced {
        match (&policy.url, &self.last_url) {
            (None, _) => Replaced::Defaults,
            (Some(url), Some(last)) if url.origin() != last.origin() => Replaced::Moved,
            _ => Replaced::Changed,
        }
    }

    /// Takes over a target with another policy.
    pub fn replace(&mut self, target: Arc<Target>, replaced: Replaced, is_breaker_open: bool) {
        let (new, old) = (&target.policy, &self.target.policy);
        // An outage of the server before, or of the breaker before, ends without a word.
        if replaced == Replaced::Moved || new.breaker != old.breaker {
            self.outage = OutageLog::new(new, is_breaker_open);
        }
        if let Some(url) = &new.url {
            self.last_url = Some(url.clone());
        }
        self.is_breaker_open = is_breaker_open;
        self.target = target;
    }
}

/// The destinations that the dispatcher has looked at. Bounded by [`MAX_REMEMBERED`], the claims,
/// and the destinations of relay.toml.
pub(super) struct Targets {
    started_at: Timestamp,
    states: HashMap<DestinationId, DestinationState>,
    /// Those of `states` that are origins of ad hoc URLs.
    adhoc: usize,
    /// The number of them from which on some are forgotten, if it is above [`MAX_IDLE`].
    next_walk: usize,
    /// Origins with a label of their own in the metrics.
    adhoc_labels: HashSet<String>,
    /// Destinations whose breaker was left open, and that have no breaker any more. The next commit
    /// records it.
    pub without_breaker: Vec<DestinationId>,
}

impl Targets {
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            started_at,
            states: HashMap::new(),
            adhoc: 0,
            next_walk: 0,
            adhoc_labels: HashSet::new(),
            without_breaker: Vec::new(),
        }
    }

    pub fn get(&self, destination: DestinationId) -> Option<&DestinationState> {
        self.states.get(&destination)
    }

    pub fn get_mut(&mut self, destination: DestinationId) -> Option<&mut DestinationState> {
        self.states.get_mut(&destination)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&DestinationId, &mut DestinationState)> {
        self.states.iter_mut()
    }

    pub fn ids(&self) -> impl Iterator<Item = DestinationId> {
        self.states.keys().copied()
    }

    /// Once there are [`MAX_IDLE`] ad hoc origins, forgets those for which nothing is claimed or
    /// `unsettled`, and that have nothing to lose; beyond [`MAX_REMEMBERED`] also those that were
    /// seen least recently. Named destinations don't count: ten thousand of them, which stay, would
    /// be walked through in each tick.
    pub fn forget_idle(
        &mut self,
        ledger: &Ledger,
        unsettled: impl Iterator<Item = DestinationId>,
        admission: &mut dyn Admission,
        now: Duration,
    ) {
        if self.adhoc < self.next_walk.max(MAX_IDLE) {
            return;
        }
        let unsettled: HashSet<DestinationId> = unsettled.collect();
        let is_idle = |id: &DestinationId, state: &DestinationState| {
            !state.target.is_named() && !ledger.has(*id) && !unsettled.contains(id)
        };
        let idle = self.states.iter().filter(|(id, state)| is_idle(id, state));
        let mut idle: Vec<(bool, Duration, DestinationId)> = idle
            .map(|(id, state)| (!admission.has_nothing_to_lose(*id, now), state.seen_at, *id))
            .collect();
        idle.sort_unstable();
        let without_loss =
            idle.partition_point(|(has_something_to_lose, ..)| !has_something_to_lose);
        let forgotten = without_loss.max(self.adhoc.saturating_sub(MAX_REMEMBERED));
        for (_, _, id) in idle.into_iter().take(forgotten) {
            self.states.remove(&id);
            admission.forget(id);
            self.adhoc -= 1;
        }
        self.next_walk = self.adhoc + WALK_EVERY;
    }

    /// The state of a destination that was looked at. A new destination is taken up as the database
    /// remembers it, under the configuration that runs by now: a reload may just have added it. So
    /// is one that another node had in between, by the number of `handovers`; that is none while it
    /// has claims here. Of a known one a command may have brought the breaker's next probe forward.
    pub fn take_up(
        &mut self,
        origin: &Origin,
        due: &DestinationBacklog,
        config: &Live,
        admission: &mut dyn Admission,
        handovers: Option<u32>,
        (now, monotonic): (Timestamp, Duration),
    ) -> &mut DestinationState {
        if let Entry::Occupied(known) = self.states.entry(origin.id)
            && handovers.is_some_and(|present| present != known.get().handovers)
        {
            admission.forget(origin.id);
            self.adhoc -= usize::from(!known.remove().target.is_named());
        }
        let unknown = match self.states.entry(origin.id) {
            Entry::Occupied(known) => {
                let state = known.into_mut();
                state.seen_at = monotonic;
                let probe_at = due.probe.map(|(at, _)| at);
                if state.probe_at != probe_at {
                    state.probe_at = probe_at;
                    if let Some(at) = probe_at {
                        admission.probe_in(&state.target, at.since(now), monotonic);
                    }
                }
                return state;
            }
            Entry::Vacant(unknown) => unknown,
        };
        let labels = &mut self.adhoc_labels;
        let has_own_label = labels.contains(&due.name) || labels.len() < ADHOC_LABELS;
        let id = origin.id;
        let target = Target::new(id, &due.name, &config.current(), has_own_label);
        if !target.policy.is_configured() && has_own_label {
            labels.insert(due.name.clone());
        }
        // Only fresh events may find a full bucket.
        let fresh_since = self.started_at.max(now.minus(LOOK_EVERY));
        let remembered = Remembered {
            is_proven: origin.is_proven,
            has_backlog: due.next_attempt_at.is_some_and(|at| at < fresh_since),
            open_breaker: due.probe.map(|(at, wait)| (at.since(now), wait)),
        };
        let has_breaker = admission.take_up(&target, remembered, monotonic);
        let is_breaker_open = due.probe.is_some() && has_breaker;
        if due.probe.is_some() && !has_breaker {
            self.without_breaker.push(id);
        }
        let outage = OutageLog::new(&target.policy, is_breaker_open);
        self.adhoc += usize::from(!target.is_named());
        unknown.insert(DestinationState {
            last_url: target.policy.url.clone(),
            target: Arc::new(target),
            origin: *origin,
            outage,
            is_breaker_open,
            probe_at: due.probe.map(|(at, _)| at),
            handovers: handovers.unwrap_or_default(),
            seen_at: monotonic,
        })
    }
}

#[cfg(test)]
mod tests;
