use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// A cancellation token. Tasks await it, threads wait for it, and other threads register a call.
#[derive(Clone, Default)]
pub(crate) struct Token(Arc<TokenState>);

#[derive(Default)]
struct TokenState {
    is_cancelled: AtomicBool,
    /// Wakes tasks; holds what `is_cancelled` does.
    tasks: watch::Sender<bool>,
    /// Wakes threads.
    threads: Condvar,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// Holds what `is_cancelled` does, under the lock that a registration takes.
    is_cancelled: bool,
    /// Run and dropped by the cancellation. One for each agent that registers a call.
    registered: Vec<Box<dyn FnOnce() + Send>>,
}

impl Token {
    /// Cancels the token. Only the first call has an effect.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        self.0.tasks.send_replace(true);
        let registered = {
            let mut calls = self.calls();
            calls.is_cancelled = true;
            std::mem::take(&mut calls.registered)
        };
        self.0.threads.notify_all();
        // Without the lock: a call may look at the token.
        for call in registered {
            call();
        }
    }

    /// Whether the token is cancelled. One atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// Resolves once the token is cancelled.
    pub async fn cancelled(&self) {
        let mut seen = self.0.tasks.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = seen.wait_for(|&is_cancelled| is_cancelled).await;
    }

    /// Blocks until the token is cancelled, for at most `limit`. Returns whether it is cancelled.
    pub fn wait(&self, limit: Duration) -> bool {
        let (calls, _) = self
            .0
            .threads
            .wait_timeout_while(self.calls(), limit, |calls| !calls.is_cancelled)
            .unwrap_or_else(PoisonError::into_inner);
        calls.is_cancelled
    }

    /// Runs `call` on the thread that cancels the token; at once if it is cancelled already.
    pub fn on_cancel(&self, call: impl FnOnce() + Send + 'static) {
        let mut calls = self.calls();
        if !calls.is_cancelled {
            calls.registered.push(Box::new(call));
            return;
        }
        drop(calls);
        call();
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // A flag and a list stay whole whatever panics.
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.is_cancelled()).finish()
    }
}
