use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Tells the dispatcher that there is something to do. Sticky: a call between its look and its wait
/// is not lost.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_set: bool,
    stop: Option<Duration>,
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

    /// Time to stop, within the grace.
    pub(super) fn stop(&self, grace: Duration) {
        self.state().stop = Some(grace);
        self.wake();
    }

    /// Waits to be woken, at most so long. Returns the grace once it is time to stop.
    pub(super) fn wait(&self, at_most: Duration) -> Option<Duration> {
        let (mut state, _) = self
            .0
            .1
            .wait_timeout_while(self.state(), at_most, |state| !state.is_set)
            .expect(NO_PANIC);
        state.is_set = false;
        state.stop
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";
