//! The threads that speak HTTP. A connection stays on the one that it was given: nothing of it moves
//! between cores, and its answers wake no other (a tenth more accepted than with a runtime whose threads
//! share their tasks; two cores, measured).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::ops::fatal::Fatal;
use crate::stop::{Ending, Running};

/// However many cores there are: the one thread that writes is busy long before so many are.
const MOST: usize = 8;
/// Threads for reads of the database, of all loops together: as many as tokio would give one runtime.
const READING: usize = 512;
/// How long reads of the database that are under way get at the end: nobody waits for them any more.
const READ_GRACE: Duration = Duration::from_millis(200);

/// How many there are: one for each core, up to eight.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

/// A thread for each core, and one that accepts connections.
#[derive(Debug)]
pub(crate) struct EventLoops {
    accepting: Handle,
    each: Arc<[EventLoop]>,
    /// Its drop is a stop, too.
    stop: watch::Sender<bool>,
    ended: Ending,
}

/// One of them, for connections to be given to.
#[derive(Debug)]
pub(crate) struct EventLoop {
    runtime: Handle,
    /// As many references as it has connections, and this one.
    connections: Arc<()>,
}

impl EventLoops {
    pub fn start(fatal: &Fatal) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (running, ended) = Ending::new();
        let start = |name| start_loop(name, stopped.clone(), running.clone(), fatal.clone());
        let accepting = start("relay-accept")?;
        let mut each = Vec::new();
        for _ in 0..count() {
            each.push(EventLoop {
                runtime: start("relay-http")?,
                connections: Arc::default(),
            });
        }
        Ok(Self {
            accepting,
            each: each.into(),
            stop,
            ended,
        })
    }

    pub fn each(&self) -> Arc<[EventLoop]> {
        Arc::clone(&self.each)
    }

    /// Where listeners accept, and what is done now and then is done.
    pub fn accepting(&self) -> &Handle {
        &self.accepting
    }

    /// Cuts what is still open, and ends the threads.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn ended(&self) -> &Ending {
        &self.ended
    }
}

/// Starts a thread that runs a runtime until it is stopped.
fn start_loop(
    name: &str,
    mut stopped: watch::Receiver<bool>,
    running: Running,
    fatal: Fatal,
) -> io::Result<Handle> {
    let (tell, started) = channel();
    let run = AssertUnwindSafe(move || {
        // Made and dropped on this thread: a drop within asynchronous code, where the caller may be,
        // would panic.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("relay-read")
            .max_blocking_threads(READING / count())
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tell.send(Err(error)),
        };
        // The caller may be gone after an error of another thread.
        let _ = tell.send(Ok(runtime.handle().clone()));
        // An error means that the other end is gone, which is a stop, too.
        let _ = runtime.block_on(stopped.wait_for(|&stopped| stopped));
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

impl EventLoop {
    /// The one with the fewest connections.
    pub fn idlest(loops: &[Self]) -> &Self {
        let connections = |one: &&Self| Arc::strong_count(&one.connections);
        loops.iter().min_by_key(connections).expect("there is one")
    }

    /// Attends to a connection here.
    pub fn attend<F>(&self, stream: TcpStream, attend: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let connection = Arc::clone(&self.connections);
        self.runtime.spawn(async move {
            // Until now it was the listener's loop that would have been woken for it.
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => attend(stream).await,
                Err(error) => log::warn!(error:% = error; "a connection can't be attended to"),
            }
            drop(connection);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::mpsc;

    use super::*;
    use crate::stop::Deadline;

    /// Says that it was dropped.
    struct Told(mpsc::Sender<&'static str>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }

    fn stream(listener: &TcpListener) -> TcpStream {
        let stream = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
        let stream = stream.expect("it listens");
        stream.set_nonblocking(true).expect("a socket");
        TcpStream::from_std(stream).expect("a socket")
    }

    #[test]
    fn connections_are_spread_and_cut_at_the_end() {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let loops = EventLoops::start(&Fatal::new()).expect("they start");
        let each = loops.each();
        let (told, tells) = mpsc::channel();
        for _ in 0..3 * each.len() {
            let told = told.clone();
            EventLoop::idlest(&each).attend(stream(&listener), |_| async move {
                let _told = Told(told.clone());
                told.send("begun").expect("somebody listens");
                pending::<()>().await;
            });
        }
        for one in &*each {
            assert_eq!(Arc::strong_count(&one.connections), 1 + 3);
        }
        for _ in 0..3 * each.len() {
            assert_eq!(tells.recv(), Ok("begun"));
        }
        // One that ends makes room where it was.
        EventLoop::idlest(&each).attend(stream(&listener), |_| async {});
        loops.begin_stop();
        assert!(
            loops
                .ended()
                .wait(&Deadline::within(Duration::from_secs(60)))
        );
        drop(told);
        assert_eq!(
            tells.iter().collect::<Vec<_>>(),
            vec!["dropped"; 3 * each.len()]
        );
        for one in &*each {
            assert_eq!(Arc::strong_count(&one.connections), 1);
        }
    }
}
