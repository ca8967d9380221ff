//! A fixed number of blocking threads, each making one attempt at a time.
//!
//! `state`: what the threads share.

mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::delivery::attempt::{Attempt, Completion};
use crate::delivery::context::Context;
use crate::delivery::transport::Transport;
use crate::delivery::wake::Wake;
use crate::delivery::worker;
use crate::stop::Ending;
use crate::store::{Claim, DestinationId};
use state::PoolState;

/// A worker's stack: a TLS handshake is the deepest that it goes, in some tens of KiB.
const STACK: usize = 512 * 1024;

/// The worker threads, and the attempts on their way to and from them.
pub(super) struct Pool {
    shared: Arc<PoolShared>,
    workers: usize,
    /// The end of all threads.
    ended: Ending,
}

struct PoolShared {
    state: Mutex<PoolState>,
    /// An attempt is queued, or the pool stops.
    ready: Condvar,
    wake: Wake,
}

impl Pool {
    /// Starts the threads. They end once `Context::stop_workers` is asked: idle ones at once, the
    /// others by a cut of their connections. The completions that they still report are ignored.
    pub fn start(context: &Context, transport: &Arc<dyn Transport>) -> std::io::Result<Self> {
        let shared = Arc::new(PoolShared {
            state: Mutex::default(),
            ready: Condvar::new(),
            wake: context.wake.clone(),
        });
        let workers = context.config.current().delivery.workers;
        context.stop_workers.on_ask({
            let (shared, transport) = (Arc::clone(&shared), Arc::clone(transport));
            move || {
                shared.state().is_stopped = true;
                shared.ready.notify_all();
                transport.abort();
            }
        });
        let (running, ended) = Ending::new();
        let reader = context.store.reader();
        for _ in 0..workers {
            let shared = Arc::clone(&shared);
            let transport = Arc::clone(transport);
            let clock = Arc::clone(&context.clock);
            let reader = reader.clone();
            let fatal = context.fatal.clone();
            let thread = std::thread::Builder::new()
                .name("relay-worker".to_owned())
                .stack_size(STACK);
            running.clone().spawn(thread, move || {
                let work = AssertUnwindSafe(|| {
                    let mut next = shared.wait();
                    while let Some(attempt) = next {
                        let completion = worker::run(attempt, &reader, &*transport, &*clock);
                        next = shared.complete(completion);
                    }
                });
                // The next start releases the delivery that the worker had.
                if catch_unwind(work).is_err() {
                    fatal.raise("a delivery worker panicked");
                }
            })?;
        }
        Ok(Self {
            shared,
            workers,
            ended,
        })
    }

    /// The end of all threads.
    pub fn ended(&self) -> Ending {
        self.ended.clone()
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Hands attempts to free workers, and wakes no more of them than there are attempts. A
    /// prefetched delivery begins in the place that an attempt has left, or comes back. Returns
    /// those that begin at once.
    pub fn submit(&self, attempts: Vec<Attempt>, prefetched: Vec<Attempt>) -> Vec<Claim> {
        let mut state = self.shared.state();
        let before = state.queue.len();
        state.queue.extend(attempts);
        let begun = prefetched.into_iter();
        let begun = begun.filter_map(|attempt| state.prefetch(attempt));
        let begun: Vec<Claim> = begun.collect();
        let count = state.queue.len() - before;
        // Some may have come back at once.
        if !state.completions.is_empty() {
            self.shared.wake.wake();
        }
        drop(state);
        for _ in 0..count {
            self.shared.ready.notify_one();
        }
        begun
    }

    /// The completions since the last call.
    pub fn take_completions(&self) -> Vec<Completion> {
        let mut state = self.shared.state();
        state.idle.clear();
        std::mem::take(&mut state.completions)
    }

    /// Takes back what is prefetched for these destinations.
    pub fn recall(&self, destinations: impl IntoIterator<Item = DestinationId>) {
        let mut state = self.shared.state();
        for destination in destinations {
            state.recall(destination);
        }
    }
}

impl PoolShared {
    /// Waits for the first attempt. None if the pool stops.
    fn wait(&self) -> Option<Attempt> {
        self.next(self.state())
    }

    /// Reports a completion, and goes on with the next attempt.
    fn complete(&self, mut completion: Completion) -> Option<Attempt> {
        let mut state = self.state();
        let target = completion.attempt.target.id;
        let next = state.follow_up(target, completion.leaves_place());
        completion.followed_by = next.as_ref().map(|(attempt, _)| attempt.claim());
        state.completions.push(completion);
        match next {
            Some((attempt, has_enough)) if !state.is_stopped => {
                drop(state);
                if has_enough {
                    self.wake.wake_soon();
                } else {
                    self.wake.wake();
                }
                Some(attempt)
            }
            _ => {
                self.wake.wake();
                self.next(state)
            }
        }
    }

    fn next(&self, state: MutexGuard<'_, PoolState>) -> Option<Attempt> {
        let is_idle = |state: &mut PoolState| state.queue.is_empty() && !state.is_stopped;
        let mut state = self.ready.wait_while(state, is_idle).expect(NO_PANIC);
        if state.is_stopped {
            return None;
        }
        state.queue.pop_front()
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";
