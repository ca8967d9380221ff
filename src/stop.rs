//! How the relay's parts end: each shows that it runs by holding a [`Running`], and whoever stops it
//! waits at its [`Ending`] until a [`Deadline`]. `JoinHandle::join` would wait for ever.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};

/// Held by a part for as long as it runs: by its thread or its task, or by each of several.
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

/// The end of all that hold the [`Running`] which was made with it.
#[derive(Clone, Debug)]
pub(crate) struct Ending(Arc<Mutex<Receiver<Infallible>>>);

impl Ending {
    /// A part that is about to run, and its end.
    pub fn new() -> (Running, Self) {
        let (held, ended) = channel();
        (Running { _held: held }, Self(Arc::new(Mutex::new(ended))))
    }

    /// Waits for the end, until the deadline; whether it has come.
    pub fn wait(&self, deadline: &Deadline) -> bool {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the channel closes once nobody holds its other end.
        match ended.recv_timeout(deadline.left()) {
            Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }
}

/// A moment to be done by, in real time: a clock that a test moves by hand must not keep a process
/// from ending.
pub(crate) struct Deadline {
    clock: SystemClock,
    within: Duration,
}

impl Deadline {
    /// The moment that is so far away from now.
    pub fn within(within: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            within,
        }
    }

    /// The moment that comes so much later.
    pub fn plus(&self, more: Duration) -> Self {
        let since = self.clock.monotonic();
        Self::within(self.within.saturating_add(more).saturating_sub(since))
    }

    /// The time that is left, or zero.
    pub fn left(&self) -> Duration {
        self.within.saturating_sub(self.clock.monotonic())
    }
}

/// Blocks this thread until the future resolves. Unlike a runtime's `block_on` it doesn't panic within
/// asynchronous code, though the other tasks of that thread have to wait.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        // A wake that comes before the park is not lost, and one for another reason does no harm.
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_ended_once_nobody_holds_its_running() {
        let (running, ending) = Ending::new();
        let second = running.clone();
        drop(running);
        assert!(!ending.wait(&Deadline::within(Duration::ZERO)));
        let thread = thread::spawn(move || drop(second));
        assert!(ending.wait(&Deadline::within(Duration::from_secs(60))));
        thread.join().expect("no panic");
        assert!(ending.wait(&Deadline::within(Duration::ZERO)));
    }

    #[test]
    fn a_panic_ends_a_part() {
        let (running, ending) = Ending::new();
        let thread = thread::spawn(move || {
            let _running = running;
            panic!("on purpose");
        });
        assert!(ending.wait(&Deadline::within(Duration::from_secs(60))));
        thread.join().expect_err("it panicked");
    }

    #[test]
    fn a_future_that_is_woken_from_another_thread_is_waited_for() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || tell.send(7));
        assert_eq!(block_on(told), Ok(7));
        thread.join().expect("no panic").expect("it was heard");
    }
}
