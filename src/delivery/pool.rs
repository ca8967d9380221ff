//! A fixed number of blocking threads, each in one attempt at a time.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::Context;
use crate::delivery::levels::Transport;
use crate::delivery::ops::Shipment;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::target::Target;
use crate::delivery::wake::Wake;
use crate::delivery::worker;
use crate::stop::Ending;

/// What takes longer than this isn't quick: nothing is claimed ahead for its destination, and what was
/// is handed back, since a line of them would keep their workers from others for many times as long.
pub(super) const QUICK: Duration = Duration::from_millis(100);

/// A worker's stack: a TLS handshake is the deepest that it goes, in some tens of KiB.
const STACK: usize = 512 * 1024;

/// A claimed delivery.
#[derive(Clone)]
pub(super) struct Job {
    pub intent: i64,
    pub target: Arc<Target>,
    pub claim: i64,
    /// When it was due.
    pub due: Timestamp,
    /// 1-based in the current budget.
    pub attempt: u32,
    /// Attempts that the history holds already, over the delivery's whole life.
    pub history: u32,
    pub freight: Freight,
}

/// What a job is to send.
#[derive(Clone)]
pub(super) enum Freight {
    Here(Arc<Shipment>),
    /// Too large to be kept in memory while it waits: whoever sends it loads it.
    Stored,
    /// It can't be loaded, for this reason.
    Lost(Arc<str>),
}

impl Job {
    /// The public id, for the log.
    pub fn event_id(&self) -> String {
        match &self.freight {
            Freight::Here(shipment) => shipment.public_id(),
            Freight::Stored | Freight::Lost(_) => String::new(),
        }
    }

    pub fn accepted_at(&self) -> Option<Timestamp> {
        match &self.freight {
            Freight::Here(shipment) => Some(shipment.created_at),
            Freight::Stored | Freight::Lost(_) => None,
        }
    }
}

/// What came of a job.
pub(super) struct Done {
    pub job: Job,
    pub started_at: Timestamp,
    pub took: Duration,
    /// None if no attempt was made.
    pub outcome: Option<Outcome>,
    /// Whether a worker had it: if none had, it waited.
    pub has_begun: bool,
    /// Whether one that waited has begun in its place.
    pub is_followed: bool,
}

impl Done {
    /// Of a job that comes back as it went.
    fn untouched(job: Job) -> Self {
        Self {
            started_at: Timestamp::from_millis(0),
            took: Duration::ZERO,
            outcome: None,
            has_begun: false,
            is_followed: false,
            job,
        }
    }

    /// Whether the next one to the same destination may begin in its place.
    pub fn went_well(&self) -> bool {
        let is_delivered =
            matches!(&self.outcome, Some(outcome) if outcome.class == Class::Delivered);
        is_delivered && self.took <= QUICK
    }
}

/// The threads, what they have to do, and what they have done.
pub(super) struct Pool {
    inner: Arc<Inner>,
    workers: usize,
    transport: Arc<dyn Transport>,
    /// Of the threads.
    ended: Ending,
}

struct Inner {
    desk: Mutex<Desk>,
    ready: Condvar,
    wake: Wake,
}

/// What lies between the dispatcher and the workers.
#[derive(Default)]
struct Desk {
    /// There is a free worker for each.
    queue: VecDeque<Job>,
    /// Each waits for an attempt to its destination to go well and soon, and begins in its place: so there are
    /// never more at once than were admitted, and no worker waits for a commit.
    waiting: HashMap<i64, Line>,
    done: Vec<Done>,
    /// What became of destinations that nobody waited for, since the dispatcher looked last.
    ended: HashMap<i64, Ended>,
    stop: bool,
}

/// Those that wait for one destination.
#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// With so few left the dispatcher should see to more.
    low: usize,
}

/// Attempts to a destination that ended with nobody waiting for it.
#[derive(Default)]
struct Ended {
    well: usize,
    /// Or slow.
    is_failing: bool,
}

impl Pool {
    pub fn start(context: &Context, transport: Arc<dyn Transport>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            desk: Mutex::default(),
            ready: Condvar::new(),
            wake: context.wake.clone(),
        });
        let workers = context.config.delivery.workers;
        let (running, ended) = Ending::new();
        // If the system refuses one of the threads, its drop ends the others.
        let pool = Self {
            inner,
            workers,
            transport,
            ended,
        };
        let reader = context.store.reader();
        for _ in 0..workers {
            let inner = Arc::clone(&pool.inner);
            let transport = Arc::clone(&pool.transport);
            let clock = Arc::clone(&context.clock);
            let reader = reader.clone();
            let fatal = context.fatal.clone();
            let thread = std::thread::Builder::new()
                .name("relay-worker".to_owned())
                .stack_size(STACK);
            running.clone().spawn(thread, move || {
                let work = AssertUnwindSafe(|| {
                    let mut next = inner.wait();
                    while let Some(job) = next {
                        let done = worker::attempt(job, &reader, &*transport, &*clock);
                        next = inner.exchange(done);
                    }
                });
                // The next start hands back the delivery that it had.
                if catch_unwind(work).is_err() {
                    fatal.raise("a delivery worker panicked");
                }
            })?;
        }
        Ok(pool)
    }

    /// When all threads have ended.
    pub fn ended(&self) -> Ending {
        self.ended.clone()
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Hands jobs to free workers, and wakes no more of them than there are jobs. Those that wait begin
    /// in the place of one that goes well, or come back untouched after one that doesn't. Returns the
    /// destinations of those that begin at once, since one went well just now.
    pub fn submit(&self, jobs: Vec<Job>, waiting: Vec<Job>) -> Vec<i64> {
        let mut desk = self.inner.desk();
        let before = desk.queue.len();
        desk.queue.extend(jobs);
        let begun = waiting.into_iter().filter_map(|job| desk.wait(job));
        let begun: Vec<i64> = begun.collect();
        let count = desk.queue.len() - before;
        // Some may have come back at once.
        if !desk.done.is_empty() {
            self.inner.wake.wake();
        }
        drop(desk);
        for _ in 0..count {
            self.inner.ready.notify_one();
        }
        begun
    }

    /// What has been done since the last call.
    pub fn take_done(&self) -> Vec<Done> {
        let mut desk = self.inner.desk();
        desk.ended.clear();
        std::mem::take(&mut desk.done)
    }

    /// Those that wait for one of these destinations come back untouched.
    pub fn recall(&self, destinations: impl IntoIterator<Item = i64>) {
        let mut desk = self.inner.desk();
        for destination in destinations {
            let line = desk.waiting.remove(&destination).unwrap_or_default();
            desk.done.extend(line.jobs.into_iter().map(Done::untouched));
        }
    }

    /// Ends the threads: idle ones at once, the others by cutting their connections. What they
    /// still report is not looked at.
    pub fn abort(&self) {
        self.inner.desk().stop = true;
        self.inner.ready.notify_all();
        self.transport.abort();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Desk {
    /// The job's destination, if it need not wait.
    fn wait(&mut self, job: Job) -> Option<i64> {
        let target = job.target.id;
        match self.ended.get_mut(&target) {
            Some(ended) if ended.is_failing => self.done.push(Done::untouched(job)),
            Some(ended) if ended.well > 0 => {
                ended.well -= 1;
                self.queue.push_back(job);
                return Some(target);
            }
            _ => {
                let line = self.waiting.entry(target).or_default();
                line.jobs.push_back(job);
                line.low = line.jobs.len() / 3;
            }
        }
        None
    }

    /// The job that follows on one that has ended, if one waits for it, and whether enough are left.
    fn follow(&mut self, target: i64, went_well: bool) -> Option<(Job, bool)> {
        if went_well {
            if let Some(line) = self.waiting.get_mut(&target)
                && let Some(next) = line.jobs.pop_front()
            {
                return Some((next, line.jobs.len() > line.low));
            }
            self.ended.entry(target).or_default().well += 1;
        } else {
            self.ended.entry(target).or_default().is_failing = true;
        }
        let line = self.waiting.remove(&target).unwrap_or_default();
        self.done.extend(line.jobs.into_iter().map(Done::untouched));
        None
    }
}

impl Inner {
    fn wait(&self) -> Option<Job> {
        self.first(self.desk())
    }

    /// Reports what is done, and goes on with the next.
    fn exchange(&self, mut done: Done) -> Option<Job> {
        let mut desk = self.desk();
        let next = desk.follow(done.job.target.id, done.went_well());
        done.is_followed = next.is_some();
        desk.done.push(done);
        match next {
            Some((next, enough_left)) if !desk.stop => {
                drop(desk);
                if enough_left {
                    self.wake.wake_soon();
                } else {
                    self.wake.wake();
                }
                Some(next)
            }
            _ => {
                self.wake.wake();
                self.first(desk)
            }
        }
    }

    fn first(&self, desk: MutexGuard<'_, Desk>) -> Option<Job> {
        let mut desk = self
            .ready
            .wait_while(desk, |desk| desk.queue.is_empty() && !desk.stop)
            .expect(NO_PANIC);
        if desk.stop {
            return None;
        }
        desk.queue.pop_front()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";
