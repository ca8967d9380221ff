//! Reloads of the configuration that commands ask for: they count them in the node's row.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The requests that a node's row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    pub reloads: i64,
    /// Of what a reload would change.
    pub dry_runs: i64,
}

/// The requests of this node's row, and those that were begun.
#[derive(Default)]
pub struct AskedReloads(Mutex<State>);

#[derive(Default)]
struct State {
    asked: ReloadCounts,
    begun: ReloadCounts,
}

impl AskedReloads {
    /// The node has a new row, without requests.
    pub fn begin_life(&self) {
        *self.lock() = State::default();
    }

    /// Takes in what the row counts; whether a reload has to begin.
    pub fn asked(&self, counts: ReloadCounts) -> bool {
        let mut state = self.lock();
        state.asked = counts;
        state.asked != state.begun
    }

    /// The next reload to begin: whether it is a dry run. However many were asked for since the
    /// last one began, one reads the file as all of them want it.
    pub fn take(&self) -> Option<bool> {
        let mut state = self.lock();
        if state.begun.reloads != state.asked.reloads {
            state.begun.reloads = state.asked.reloads;
            return Some(false);
        }
        if state.begun.dry_runs != state.asked.dry_runs {
            state.begun.dry_runs = state.asked.dry_runs;
            return Some(true);
        }
        None
    }

    /// The number of the last request of this kind that was begun.
    pub fn begun(&self, is_dry_run: bool) -> i64 {
        let begun = self.lock().begun;
        if is_dry_run {
            begun.dry_runs
        } else {
            begun.reloads
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_come_together_are_one_and_the_reload_comes_first() {
        let asked = AskedReloads::default();
        let counts = |reloads, dry_runs| ReloadCounts { reloads, dry_runs };
        assert!(!asked.asked(counts(0, 0)));
        assert!(asked.asked(counts(3, 1)));
        assert_eq!(
            [asked.take(), asked.take(), asked.take()],
            [Some(false), Some(true), None]
        );
        assert_eq!((asked.begun(false), asked.begun(true)), (3, 1));
        assert!(!asked.asked(counts(3, 1)), "they were begun");
        asked.begin_life();
        assert!(!asked.asked(counts(0, 0)));
        assert!(asked.asked(counts(1, 0)), "a new row counts anew");
    }
}
