use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::stop::deadline::Deadline;

/// Held by an agent while it runs: by its thread, by its task, or by each of several.
#[derive(Clone)]
pub(crate) struct Running {
    _held: Sender<Infallible>,
}

impl Running {
    /// Starts a thread that holds it until `run` has returned and dropped all that it owns.
    pub fn spawn(
        self,
        thread: thread::Builder,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        thread
            .spawn(move || {
                run();
                drop(self);
            })
            .map(drop)
    }
}

/// The end of an agent: of all that hold the [`Running`] which was made with it.
#[derive(Clone, Debug)]
pub(crate) struct Ending(Arc<Mutex<Receiver<Infallible>>>);

impl Ending {
    /// An agent that is about to run, and its end.
    pub fn new() -> (Running, Self) {
        let (held, ended) = channel();
        (Running { _held: held }, Self(Arc::new(Mutex::new(ended))))
    }

    /// The end of an agent that was never started.
    pub fn already() -> Self {
        Self::new().1
    }

    /// Waits for the end until the deadline. Returns whether it came.
    pub fn wait(&self, deadline: &Deadline) -> bool {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the channel closes with the last `Running`.
        match ended.recv_timeout(deadline.left()) {
            Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }
}
