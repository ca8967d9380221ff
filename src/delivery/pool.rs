//! A fixed number of blocking threads, each in one attempt at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::Context;
use super::level::Transport;
use super::outcome::Outcome;
use super::target::Target;
use super::wake::Wake;
use super::worker;
use crate::clock::Timestamp;

/// A worker's stack: a TLS handshake is the deepest that it goes, in some tens of KiB.
const STACK: usize = 512 * 1024;

/// A claimed delivery.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub intent: i64,
    pub target: Arc<Target>,
    pub claim: i64,
    /// 1-based in the current budget.
    pub attempt: u32,
    /// Attempts that the history holds already, over the delivery's whole life.
    pub history: u32,
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Done {
    pub job: Job,
    /// The public id, for the log.
    pub event_id: String,
    pub accepted_at: Timestamp,
    pub started_at: Timestamp,
    pub took: Duration,
    /// None if the attempt never began.
    pub outcome: Option<Outcome>,
}

/// The threads, what they have to do, and what they have done.
pub(super) struct Pool {
    inner: Arc<Inner>,
    workers: usize,
    transport: Arc<dyn Transport>,
}

struct Inner {
    jobs: Mutex<Jobs>,
    ready: Condvar,
    done: Mutex<Vec<Done>>,
    wake: Wake,
}

struct Jobs {
    queue: VecDeque<Job>,
    stop: bool,
}

impl Pool {
    pub fn start(context: &Context, transport: Arc<dyn Transport>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            jobs: Mutex::new(Jobs {
                queue: VecDeque::new(),
                stop: false,
            }),
            ready: Condvar::new(),
            done: Mutex::new(Vec::new()),
            wake: context.wake.clone(),
        });
        let workers = context.config.delivery.workers;
        for _ in 0..workers {
            let inner = Arc::clone(&inner);
            let transport = Arc::clone(&transport);
            let store = context.store.clone();
            let clock = Arc::clone(&context.clock);
            std::thread::Builder::new()
                .name("relay-worker".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    while let Some(job) = inner.next() {
                        let done = worker::attempt(job, &store, &*transport, &*clock);
                        inner.finish(done);
                    }
                })?;
        }
        Ok(Self {
            inner,
            workers,
            transport,
        })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Hands jobs to free workers, and wakes no more of them than there are jobs.
    pub fn submit(&self, jobs: Vec<Job>) {
        let count = jobs.len();
        lock(&self.inner.jobs).queue.extend(jobs);
        for _ in 0..count {
            self.inner.ready.notify_one();
        }
    }

    /// What has been done since the last call.
    pub fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut *lock(&self.inner.done))
    }

    /// Ends the threads: idle ones at once, the others by cutting their connections. What they
    /// still report is not looked at.
    pub fn abort(&self) {
        lock(&self.inner.jobs).stop = true;
        self.inner.ready.notify_all();
        self.transport.abort();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Inner {
    fn next(&self) -> Option<Job> {
        let mut jobs = self
            .ready
            .wait_while(lock(&self.jobs), |jobs| jobs.queue.is_empty() && !jobs.stop)
            .expect(NO_PANIC);
        if jobs.stop {
            return None;
        }
        jobs.queue.pop_front()
    }

    fn finish(&self, done: Done) {
        lock(&self.done).push(done);
        self.wake.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NO_PANIC)
}

const NO_PANIC: &str = "nobody panics while holding this lock";
