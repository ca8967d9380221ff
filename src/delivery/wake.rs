//! Wakes the dispatcher.

use crate::store::DestinationId;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Tells the dispatcher that there is work. Sticky: a call between the dispatcher's look and its
/// wait is not lost.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<(Mutex<WakeState>, Condvar)>);

/// The delay of a wake-up that can wait, so that several completions share a commit.
const SOON: Duration = Duration::from_millis(1);

#[derive(Default)]
struct WakeState {
    /// Destinations for which a delivery became due since the dispatcher asked. Bounded by the
    /// destinations with deliveries waiting, since it is a set.
    due: HashSet<DestinationId>,
    is_written_outside: bool,
    is_set: bool,
    is_soon: bool,
}

impl Wake {
    pub fn new() -> Self {
        Self::default()
    }

    /// A delivery became due, a worker is free, or the time was moved.
    pub fn wake(&self) {
        let mut state = self.state();
        if !state.is_set {
            state.is_set = true;
            self.0.1.notify_all();
        }
    }

    /// Deliveries to these destinations became due.
    pub fn due(&self, destinations: &[DestinationId]) {
        self.state().due.extend(destinations);
        self.wake();
    }

    /// The destinations for which a delivery became due since the last call.
    pub(super) fn take_due(&self) -> HashSet<DestinationId> {
        std::mem::take(&mut self.state().due)
    }

    /// Another process wrote, or an operator: all destinations are to be read anew, since any may
    /// have changed.
    pub fn outside_write(&self) {
        self.state().is_written_outside = true;
        self.wake();
    }

    /// Whether another process wrote since the last call.
    pub(super) fn take_outside_write(&self) -> bool {
        std::mem::take(&mut self.state().is_written_outside)
    }

    /// An attempt finished and its worker went on with prefetched work: wakes the dispatcher
    /// within 1 ms, so that several completions share a commit.
    pub(super) fn wake_soon(&self) {
        let mut state = self.state();
        if !state.is_set && !state.is_soon {
            state.is_soon = true;
            self.0.1.notify_all();
        }
    }

    /// Waits to be woken, for `at_most`.
    pub(super) fn wait(&self, at_most: Duration) {
        let woken = &self.0.1;
        let is_idle = |state: &mut WakeState| !state.is_set && !state.is_soon;
        let (mut state, _) = woken
            .wait_timeout_while(self.state(), at_most, is_idle)
            .expect(NO_PANIC);
        if state.is_soon {
            (state, _) = woken
                .wait_timeout_while(state, SOON, |state| !state.is_set)
                .expect(NO_PANIC);
        }
        state.is_soon = false;
        state.is_set = false;
    }

    fn state(&self) -> MutexGuard<'_, WakeState> {
        self.0.0.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";
