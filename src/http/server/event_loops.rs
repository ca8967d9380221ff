//! The threads that serve HTTP. A connection stays on the thread that it was given to: its data
//! doesn't move between cores, and its answers wake no other thread. A tenth more requests are
//! accepted than with a runtime whose threads share their tasks (two cores, measured).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

use crate::ops::fatal::Fatal;
use crate::stop::{Ending, Running, Stop};

/// The most event loops. The writer's one thread is busy long before this many cores are.
const MAX_EVENT_LOOPS: usize = 8;
/// Threads for reads of the database, of all event loops together: as many as tokio gives one
/// runtime by default.
const READ_THREADS: usize = 512;
/// Added to the niceness of these threads: beside requests that are being accepted a read gets a
/// quarter of its time otherwise, so that consoles and lists don't hold them up.
const READ_NICENESS: i32 = 6;
/// The lowest priority that Linux has.
const MAX_NICENESS: i32 = 19;
/// How long reads of the database that are under way may take at the stop. Nobody waits for them
/// any more.
const READ_GRACE: Duration = Duration::from_millis(200);

/// The number of event loops: one for each core, up to [`MAX_EVENT_LOOPS`].
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_EVENT_LOOPS))
}

/// An event loop for each core, and one that accepts connections.
#[derive(Debug)]
pub(crate) struct EventLoops {
    accepting: Handle,
    serving: Arc<[EventLoop]>,
    ended: Ending,
}

/// A thread that serves connections.
#[derive(Debug)]
pub(crate) struct EventLoop {
    runtime: Handle,
    /// Counts its connections: each holds a reference besides this one.
    connections: Arc<()>,
}

impl EventLoops {
    /// Starts the threads. Asked to stop, they close the connections that are still open, and end.
    pub fn start(fatal: &Fatal, stop: &Stop) -> io::Result<Self> {
        let (running, ended) = Ending::new();
        let start = |name| start_event_loop(name, stop.clone(), running.clone(), fatal.clone());
        let accepting = start("relay-accept")?;
        let mut serving = Vec::new();
        for _ in 0..count() {
            serving.push(EventLoop {
                runtime: start("relay-http")?,
                connections: Arc::default(),
            });
        }
        Ok(Self {
            accepting,
            serving: serving.into(),
            ended,
        })
    }

    /// The event loops that serve connections.
    pub fn serving(&self) -> Arc<[EventLoop]> {
        Arc::clone(&self.serving)
    }

    /// The event loop that accepts connections and runs periodic tasks.
    pub fn accepting(&self) -> &Handle {
        &self.accepting
    }

    pub fn ended(&self) -> &Ending {
        &self.ended
    }
}

/// Starts a thread that runs a runtime until the stop.
fn start_event_loop(name: &str, stop: Stop, running: Running, fatal: Fatal) -> io::Result<Handle> {
    let (sender, started) = channel();
    let run = AssertUnwindSafe(move || {
        // Made and dropped on this thread. The caller may be in asynchronous code, where dropping a
        // runtime panics.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("relay-read")
            .max_blocking_threads(READ_THREADS / count())
            // Of the threads for reads: this one is there already.
            .on_thread_start(be_nice)
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return sender.send(Err(error)),
        };
        // The caller may have gone after the error of another thread.
        let _ = sender.send(Ok(runtime.handle().clone()));
        runtime.block_on(stop.asked());
        runtime.shutdown_timeout(READ_GRACE);
        Ok(())
    });
    running.spawn(thread::Builder::new().name(name.to_owned()), move || {
        if catch_unwind(run).is_err() {
            fatal.raise("a thread that speaks HTTP panicked");
        }
    })?;
    started
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("a thread that speaks HTTP panicked")))
}

/// Lowers the priority of the thread that calls it, from that of the process. Where that is
/// impossible reads go on as they are.
fn be_nice() {
    let niceness = |own: i32| (own + READ_NICENESS).min(MAX_NICENESS);
    let lowered =
        getpriority_process(None).and_then(|own| setpriority_process(None, niceness(own)));
    if let Err(error) = lowered {
        log::debug!(error:%; "a thread for reads keeps its priority");
    }
}

impl EventLoop {
    /// The event loop with the fewest connections.
    pub fn least_loaded(event_loops: &[Self]) -> &Self {
        event_loops
            .iter()
            .min_by_key(|event_loop| Arc::strong_count(&event_loop.connections))
            .expect("there is at least one")
    }

    /// Serves a connection on this event loop.
    pub fn spawn_connection<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let connection = Arc::clone(&self.connections);
        self.runtime.spawn(async move {
            // Registers the socket with this event loop, in place of the one that accepted it.
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => serve(stream).await,
                Err(error) => log::warn!(error:% = error; "a connection can't be attended to"),
            }
            drop(connection);
        });
    }
}

#[cfg(test)]
mod tests;
