//! The pipeline's limit: the same work without a database.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Scene;
use super::posts::Poster;
use super::support::servers::{answering, log};
use super::support::{self, load, runtime, sample};

/// A record of the bare pipeline's log.
enum Record {
    /// An event: answered, and then posted.
    Accepted(oneshot::Sender<()>, Bytes),
    /// The outcome of a post.
    Settled,
}

/// The bytes of an outcome, as many as a row of the history has.
const OUTCOME: &[u8] = &[b'x'; 64];

/// The events that wait for a poster.
#[derive(Default)]
struct Queue {
    events: Mutex<VecDeque<Bytes>>,
    ready: Condvar,
    is_closed: AtomicBool,
}

impl Queue {
    fn push(&self, event: Bytes) {
        self.events.lock().expect(NO_PANIC).push_back(event);
        self.ready.notify_one();
    }

    /// The next event; none once the queue is closed.
    fn pop(&self) -> Option<Bytes> {
        let events = self.events.lock().expect(NO_PANIC);
        let is_idle =
            |events: &mut VecDeque<_>| events.is_empty() && !self.is_closed.load(Ordering::SeqCst);
        let mut events = self.ready.wait_while(events, is_idle).expect(NO_PANIC);
        events.pop_front()
    }

    fn close(&self) {
        let _locked = self.events.lock().expect(NO_PANIC);
        self.is_closed.store(true, Ordering::SeqCst);
        self.ready.notify_all();
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";

/// A pipeline of relay's pieces without a database: a hyper handler answers when an event is in the
/// log, a ureq pool posts the event, and the outcome goes into the same log. Returns events a
/// second, from the first request to the sync of the last outcome, as relay's pipeline does.
pub fn pipeline(scene: &Scene, connections: usize, workers: usize) -> f64 {
    let directory = support::directory();
    let queue = Arc::new(Queue::default());
    let settled = Arc::new(AtomicU64::new(0));
    let records = log(directory.path(), {
        let (queue, settled) = (Arc::clone(&queue), Arc::clone(&settled));
        move |record| match record {
            Record::Accepted(waiter, event) => {
                // A client may have left at the end of a sample.
                let _ = waiter.send(());
                queue.push(event);
            }
            Record::Settled => {
                settled.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // A thread that speaks HTTP for each processor, as in relay.
    let server = runtime(std::thread::available_parallelism().map_or(1, usize::from));
    let accepted = records.clone();
    let address = answering(&server, Ipv4Addr::LOCALHOST, None, move |event| {
        let (waiter, synced) = oneshot::channel();
        let record = (event.clone(), Record::Accepted(waiter, event));
        accepted.send(record).expect("the log goes on");
        async move { synced.await.is_ok() }
    });
    let poster = Poster::new(scene.sink, workers);
    let rate = std::thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, poster, records) = (&queue, &poster, records.clone());
            scope.spawn(move || {
                while let Some(event) = queue.pop() {
                    poster.post(&event);
                    let outcome = Bytes::from_static(OUTCOME);
                    let record = (outcome, Record::Settled);
                    records.send(record).expect("the log goes on");
                }
            });
        }
        let start = Instant::now();
        let accepted = load(&scene.client, address, connections, sample()).count;
        while settled.load(Ordering::Relaxed) < accepted as u64 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = start.elapsed();
        queue.close();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = accepted as f64 / took.as_secs_f64();
        rate
    });
    server.shutdown_background();
    rate
}
