//! The attempts between the dispatcher and the workers.

use std::collections::{HashMap, VecDeque};

use crate::delivery::attempt::{Attempt, Completion};
use crate::store::{Claim, DestinationId};

/// The attempts between the dispatcher and the workers. Bounded by what is claimed.
#[derive(Default)]
pub(super) struct PoolState {
    /// There is a free worker for each.
    pub queue: VecDeque<Attempt>,
    /// By destination. A prefetched delivery begins in the place that an attempt has left: so there
    /// are never more attempts at once than were admitted, and no worker waits for a commit.
    prefetched: HashMap<DestinationId, PrefetchQueue>,
    pub completions: Vec<Completion>,
    /// By destination, since the dispatcher took the completions last.
    pub idle: HashMap<DestinationId, IdleCompletions>,
    pub is_stopped: bool,
}

/// The prefetched deliveries of one destination.
#[derive(Default)]
struct PrefetchQueue {
    attempts: VecDeque<Attempt>,
    /// Low-water mark: with so few left the dispatcher prefetches more.
    low: usize,
}

/// Completions of a destination for which nothing was prefetched.
#[derive(Default)]
pub(super) struct IdleCompletions {
    /// Places that they have left.
    places: usize,
    /// Whether one left none: it failed, or was slow.
    has_other: bool,
}

impl PoolState {
    /// Takes in a prefetched delivery. Returns its claim if it begins at once.
    pub fn prefetch(&mut self, attempt: Attempt) -> Option<Claim> {
        let destination = attempt.target.id;
        match self.idle.get_mut(&destination) {
            Some(idle) if idle.has_other => {
                self.completions.push(Completion::not_begun(attempt));
            }
            Some(idle) if idle.places > 0 => {
                idle.places -= 1;
                let claim = attempt.claim();
                self.queue.push_back(attempt);
                return Some(claim);
            }
            _ => {
                let queue = self.prefetched.entry(destination).or_default();
                queue.attempts.push_back(attempt);
                queue.low = queue.attempts.len() / 3;
            }
        }
        None
    }

    /// The prefetched delivery that follows a completion, if there is one, and whether enough are
    /// left. A completion that leaves no place recalls the others.
    pub fn follow_up(
        &mut self,
        destination: DestinationId,
        leaves_place: bool,
    ) -> Option<(Attempt, bool)> {
        if leaves_place {
            if let Some(queue) = self.prefetched.get_mut(&destination)
                && let Some(next) = queue.attempts.pop_front()
            {
                return Some((next, queue.attempts.len() > queue.low));
            }
            self.idle.entry(destination).or_default().places += 1;
        } else {
            self.idle.entry(destination).or_default().has_other = true;
        }
        self.recall(destination);
        None
    }

    /// Takes back what is prefetched for a destination.
    pub fn recall(&mut self, destination: DestinationId) {
        if let Some(queue) = self.prefetched.remove(&destination) {
            let attempts = queue.attempts.into_iter();
            self.completions.extend(attempts.map(Completion::not_begun));
        }
    }
}
