//! What each connection is doing, and which one goes when there is no room for another.
//!
//! A connection is idle before its first request and between two: also while a slow client's headers
//! trickle in. When all slots are taken and somebody waits for one, the one that has been idle for
//! longest is closed, so that a crowd of silent clients can't keep others out. If none is idle, the
//! one goes whose body has been on its way for longest, once it had its time: nothing is recorded of
//! it yet. Those that wait for us are never touched.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a connection may idle undisturbed: a new one's request needs a moment to arrive.
const UNDISTURBED: Duration = Duration::from_millis(100);
/// How long a body may be on its way undisturbed: all that a request may hold crosses a slow line
/// (2 Mbit/s) in it. Without shortage it has `server.request_timeout`.
const UNDISTURBED_BODY: Duration = Duration::from_secs(2);
/// How often somebody is asked to make room, while somebody waits.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A request is being answered.
const BUSY: u64 = 0;
/// The answer is there, and nothing of it is written.
const ANSWERED: u64 = 1;
/// The answer is being written.
const WRITING: u64 = 2;
/// From here on: idle, since so many milliseconds after the start.
const IDLE: u64 = 3;
/// From here on: a body is on its way, likewise.
const READING: u64 = 1 << 63;

/// What one connection is doing. Changed by the connection's own task only.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    state: AtomicU64,
    /// Whether bytes may still be on their way to us when we close.
    lingers: AtomicBool,
    /// Told when it should make room.
    make_room: Notify,
    slots: Arc<Shared>,
}

impl ConnectionState {
    pub fn begin_request(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// The request's body is being waited for.
    pub fn begin_body(&self) {
        self.state
            .store(READING | self.slots.now(), Ordering::Relaxed);
    }

    /// As much of it is there as there will be.
    pub fn end_body(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    pub fn answered(&self) {
        self.state.store(ANSWERED, Ordering::Relaxed);
    }

    pub fn is_idle(&self) -> bool {
        (IDLE..READING).contains(&self.state.load(Ordering::Relaxed))
    }

    /// Whether nobody is owed an answer, nor the rest of one.
    pub fn may_close(&self) -> bool {
        self.is_idle() && !self.lingers()
    }

    /// Whether it may be closed for the sake of another, and how soon it should be: the least first.
    pub fn may_make_room(&self) -> Option<(bool, u64)> {
        let state = self.state.load(Ordering::Relaxed);
        let (is_reading, since, undisturbed) = match state {
            READING.. => (true, state ^ READING, UNDISTURBED_BODY),
            IDLE.. if !self.lingers() => (false, state - IDLE, UNDISTURBED),
            _ => return None,
        };
        let lasted = Duration::from_millis(self.slots.now().saturating_sub(since));
        (lasted >= undisturbed).then_some((is_reading, since))
    }

    /// Bytes of an answer go out. Those of `100 Continue` do while the request is still busy.
    pub fn writes(&self) {
        if self.state.load(Ordering::Relaxed) == ANSWERED {
            self.state.store(WRITING, Ordering::Relaxed);
        }
    }

    /// All that was to be written is. Whether that ended an answer.
    pub fn flushed(&self) -> bool {
        let is_answered = self.state.load(Ordering::Relaxed) == WRITING;
        if is_answered {
            self.state.store(IDLE + self.slots.now(), Ordering::Relaxed);
            // One that lingers frees its slot soon, and closing it now could lose its answer.
            if self.slots.is_short.load(Ordering::Relaxed) && !self.lingers() {
                self.make_room.notify_one();
            }
        }
        is_answered
    }

    /// The request's body wasn't read to its end: closing at once would reset the connection, and
    /// the client might never see the answer.
    pub fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    pub fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }

    /// Resolves when the connection should close if it can.
    pub async fn room_wanted(&self) {
        self.make_room.notified().await;
    }
}

/// As many slots as there may be connections.
#[derive(Debug)]
pub(in crate::http) struct ConnectionSlots {
    permits: Arc<Semaphore>,
    count: u32,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// Whether the listener waits for a slot.
    is_short: AtomicBool,
    open: Mutex<Vec<Arc<ConnectionState>>>,
}

impl Shared {
    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("no process runs for so long")
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Arc<ConnectionState>>> {
        self.open
            .lock()
            .expect("nobody panics while holding this lock")
    }
}

/// A connection's slot; dropping it frees it.
#[derive(Debug)]
pub(in crate::http) struct ConnectionSlot {
    pub state: Arc<ConnectionState>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.state.slots.open();
        if let Some(at) = open
            .iter()
            .position(|other| Arc::ptr_eq(other, &self.state))
        {
            open.swap_remove(at);
        }
    }
}

impl ConnectionSlots {
    pub fn new(count: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count as usize)),
            count,
            shared: Arc::new(Shared {
                start: Instant::now(),
                is_short: AtomicBool::new(false),
                open: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Waits for room for a connection that was just accepted, and makes some if it can.
    async fn room(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return permit;
        }
        // Said first: whoever becomes idle from here on closes by itself.
        self.shared.is_short.store(true, Ordering::Relaxed);
        let permit = loop {
            self.close_one();
            let acquired = Arc::clone(&permits).acquire_owned();
            // The one that was asked may have been sent a request just then.
            if let Ok(permit) = tokio::time::timeout(ASK_AGAIN, acquired).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        self.shared.is_short.store(false, Ordering::Relaxed);
        permit
    }

    fn close_one(&self) {
        let open = self.shared.open();
        let first = open
            .iter()
            .filter_map(|state| Some((state.may_make_room()?, state)))
            .min_by_key(|(order, _)| *order);
        if let Some((_, state)) = first {
            state.make_room.notify_one();
        }
    }

    /// A slot for a connection that was just accepted, once there is one.
    pub async fn take(&self) -> ConnectionSlot {
        let permit = self.room().await;
        let state = Arc::new(ConnectionState {
            state: AtomicU64::new(IDLE + self.shared.now()),
            lingers: AtomicBool::new(false),
            make_room: Notify::new(),
            slots: Arc::clone(&self.shared),
        });
        self.shared.open().push(Arc::clone(&state));
        ConnectionSlot {
            state,
            _permit: permit,
        }
    }

    /// Resolves when all slots are free.
    pub async fn all_free(&self) {
        drop(
            self.permits
                .acquire_many(self.count)
                .await
                .expect("the semaphore is never closed"),
        );
    }
}
