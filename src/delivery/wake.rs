use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Tells the dispatcher that there is something to do. Sticky: a call between its look and its wait
/// is not lost.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<(Mutex<State>, Condvar)>);

/// How long what can wait does: several attempts then share a commit.
const SOON: Duration = Duration::from_millis(1);

#[derive(Default)]
struct State {
    /// Destinations for which something became due since the dispatcher asked. Bounded by those
    /// for which something waits: it is a set.
    due: HashSet<i64>,
    is_written_outside: bool,
    is_set: bool,
    is_soon: bool,
}

impl Wake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Something became due, a worker is free, or the time was moved.
    pub fn wake(&self) {
        let mut state = self.state();
        if !state.is_set {
            state.is_set = true;
            self.0.1.notify_all();
        }
    }

    /// Something became due for these destinations.
    pub fn due(&self, destinations: &[i64]) {
        self.state().due.extend(destinations);
        self.wake();
    }

    /// The destinations for which something became due since the last call.
    pub(super) fn take_due(&self) -> HashSet<i64> {
        std::mem::take(&mut self.state().due)
    }

    /// Another process wrote: whatever it changed, all is to be read anew.
    pub fn outside_write(&self) {
        self.state().is_written_outside = true;
        self.wake();
    }

    /// Whether another process wrote since the last call.
    pub(super) fn take_outside_write(&self) -> bool {
        std::mem::take(&mut self.state().is_written_outside)
    }

    /// Something was done, and nobody is idle for it.
    pub(super) fn wake_soon(&self) {
        let mut state = self.state();
        if !state.is_set && !state.is_soon {
            state.is_soon = true;
            self.0.1.notify_all();
        }
    }

    /// Waits to be woken, at most so long.
    pub(super) fn wait(&self, at_most: Duration) {
        let woken = &self.0.1;
        let (mut state, _) = woken
            .wait_timeout_while(self.state(), at_most, |state| {
                !state.is_set && !state.is_soon
            })
            .expect(NO_PANIC);
        if state.is_soon {
            (state, _) = woken
                .wait_timeout_while(state, SOON, |state| !state.is_set)
                .expect(NO_PANIC);
        }
        state.is_soon = false;
        state.is_set = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";
