//! Bounds the connections of a listener, and evicts one when a new connection needs its slot.
//!
//! A connection is idle before its first request and between two requests, also while the headers
//! of a slow client trickle in. When all slots are taken, the connection that has been idle for
//! longest is closed, so that many silent clients can't keep others out. If none is idle, the
//! connection is closed whose body has been arriving for longest, once it had its minimum of time:
//! nothing of its request is recorded yet. A connection that is owed an answer is never closed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a connection may be idle before it can be evicted. The request of a new one needs a
/// moment to arrive.
const MIN_IDLE: Duration = Duration::from_millis(100);
/// How long a body may take before its connection can be evicted. The largest body of the relay API
/// crosses a slow line (2 Mbit/s) in that time. While there are free slots, a body has
/// `server.request_timeout`.
const MIN_RECEIVING: Duration = Duration::from_secs(2);
/// How long a new connection waits for a slot before it tries another eviction.
const EVICTION_RETRY: Duration = Duration::from_millis(20);

/// Phase: a request is being answered.
const ANSWERING: u64 = 0;
/// Phase: the answer is ready, and nothing of it is written.
const ANSWERED: u64 = 1;
/// Phase: the answer is being written.
const WRITING: u64 = 2;
/// Phase: idle. The milliseconds since the start at which it began are added.
const IDLE: u64 = 3;
/// Phase: a body is arriving. The milliseconds since the start at which it began are added.
const RECEIVING: u64 = 1 << 63;

/// The state of one connection. Only the connection's own task changes it.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    phase: AtomicU64,
    /// When requests could begin: the milliseconds from the start to the end of the TLS handshake;
    /// 0 without TLS.
    ready_at: AtomicU64,
    /// Whether bytes of the client may still be arriving when the connection closes.
    is_lingering: AtomicBool,
    /// Whether the answer is a stream, whose end isn't known.
    is_streaming: AtomicBool,
    /// Notified when the connection should close if it can.
    eviction: Notify,
    slots: Arc<SlotTable>,
}

impl ConnectionState {
    /// The TLS handshake has ended. The connection is idle since its beginning all the same: the
    /// handshake and the first headers share their time.
    pub fn begin_requests(&self) {
        self.ready_at.store(self.slots.now(), Ordering::Relaxed);
    }

    pub fn begin_request(&self) {
        self.phase.store(ANSWERING, Ordering::Relaxed);
    }

    /// The request's body is waited for from here on.
    pub fn begin_body(&self) {
        let phase = RECEIVING | self.slots.now();
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// The body is complete, or was given up.
    pub fn end_body(&self) {
        self.phase.store(ANSWERING, Ordering::Relaxed);
    }

    /// The answer is ready.
    pub fn end_request(&self) {
        self.phase.store(ANSWERED, Ordering::Relaxed);
    }

    /// The answer is a stream: it counts as not ready until its end.
    pub fn begin_stream(&self) {
        self.is_streaming.store(true, Ordering::Relaxed);
    }

    /// The stream has ended, and with it the answer.
    pub fn end_stream(&self) {
        self.is_streaming.store(false, Ordering::Relaxed);
        self.end_request();
    }

    pub fn is_streaming(&self) -> bool {
        self.is_streaming.load(Ordering::Relaxed)
    }

    pub fn is_idle(&self) -> bool {
        (IDLE..RECEIVING).contains(&self.phase.load(Ordering::Relaxed))
    }

    /// The time of the timers, in whole milliseconds.
    pub fn now(&self) -> Instant {
        self.slots.start + Duration::from_millis(self.slots.now())
    }

    /// When an idle connection became idle.
    pub fn idle_since(&self) -> Instant {
        let phase = self.phase.load(Ordering::Relaxed);
        self.slots.start + Duration::from_millis(phase.saturating_sub(IDLE))
    }

    /// How long a request may still arrive on an idle connection. A stop that closed a connection
    /// which was just accepted would refuse a client whose request is on its way.
    pub fn left_for_a_request(&self) -> Duration {
        let ready_at = Duration::from_millis(self.ready_at.load(Ordering::Relaxed));
        let since = self.idle_since().max(self.slots.start + ready_at);
        MIN_IDLE.saturating_sub(Instant::now().saturating_duration_since(since))
    }

    /// Whether no answer, nor the rest of one, is owed to the client.
    pub fn is_closable(&self) -> bool {
        self.is_idle() && !self.is_lingering()
    }

    /// The place in the order of eviction, least first. `None` if the connection can't be evicted.
    pub fn eviction_order(&self) -> Option<(bool, u64)> {
        let phase = self.phase.load(Ordering::Relaxed);
        let (is_receiving, since, minimum) = match phase {
            RECEIVING.. => (true, phase ^ RECEIVING, MIN_RECEIVING),
            IDLE.. if !self.is_lingering() => (false, phase - IDLE, MIN_IDLE),
            _ => return None,
        };
        let lasted = Duration::from_millis(self.slots.now().saturating_sub(since));
        (lasted >= minimum).then_some((is_receiving, since))
    }

    /// Bytes are being written. `100 Continue` comes before the answer and changes nothing.
    pub fn begin_write(&self) {
        if self.phase.load(Ordering::Relaxed) == ANSWERED {
            self.phase.store(WRITING, Ordering::Relaxed);
        }
    }

    /// All bytes are written. Returns whether they ended an answer.
    pub fn end_write(&self) -> bool {
        let is_answer = self.phase.load(Ordering::Relaxed) == WRITING;
        if is_answer {
            let phase = IDLE + self.slots.now();
            self.phase.store(phase, Ordering::Relaxed);
            // A lingering connection frees its slot soon, and closing it now could lose its answer.
            if self.slots.is_slot_wanted.load(Ordering::Relaxed) && !self.is_lingering() {
                self.eviction.notify_one();
            }
        }
        is_answer
    }

    /// The request's body was not read to its end. Closing at once would reset the connection, and
    /// the client might never see the answer.
    pub fn linger(&self) {
        self.is_lingering.store(true, Ordering::Relaxed);
    }

    pub fn is_lingering(&self) -> bool {
        self.is_lingering.load(Ordering::Relaxed)
    }

    /// Resolves when the connection should close if it can.
    pub async fn eviction_requested(&self) {
        self.eviction.notified().await;
    }
}

/// The slots of a listener: one for each connection that may be open.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    permits: Arc<Semaphore>,
    count: u32,
    table: Arc<SlotTable>,
}

/// Shared by a listener and its connections.
#[derive(Debug)]
struct SlotTable {
    start: Instant,
    /// Whether the listener waits for a slot.
    is_slot_wanted: AtomicBool,
    /// At most one for each slot.
    open: Mutex<Vec<Arc<ConnectionState>>>,
}

impl SlotTable {
    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        let elapsed = self.start.elapsed().as_millis();
        u64::try_from(elapsed).expect("no process runs for that long")
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<ConnectionState>>> {
        self.open
            .lock()
            .expect("nobody panics while holding this lock")
    }
}

/// A connection's slot. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    pub state: Arc<ConnectionState>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.state.slots.open();
        let is_own = |other: &Arc<ConnectionState>| Arc::ptr_eq(other, &self.state);
        if let Some(index) = open.iter().position(is_own) {
            open.swap_remove(index);
        }
    }
}

impl ConnectionSlots {
    pub fn new(count: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count as usize)),
            count,
            table: Arc::new(SlotTable {
                start: Instant::now(),
                is_slot_wanted: AtomicBool::new(false),
                open: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Waits for a slot for a connection that was just accepted.
    pub async fn acquire(&self) -> ConnectionSlot {
        let permit = self.acquire_permit().await;
        let state = Arc::new(ConnectionState {
            phase: AtomicU64::new(IDLE + self.table.now()),
            ready_at: AtomicU64::new(0),
            is_lingering: AtomicBool::new(false),
            is_streaming: AtomicBool::new(false),
            eviction: Notify::new(),
            slots: Arc::clone(&self.table),
        });
        self.table.open().push(Arc::clone(&state));
        ConnectionSlot {
            state,
            _permit: permit,
        }
    }

    /// Waits for a permit, and evicts connections until there is one.
    async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return permit;
        }
        // Set before the first eviction: connections that become idle from here on close by
        // themselves.
        self.table.is_slot_wanted.store(true, Ordering::Relaxed);
        let permit = loop {
            self.evict_one();
            let acquired = Arc::clone(&permits).acquire_owned();
            // The connection that was asked to close may have been sent a request since.
            if let Ok(permit) = tokio::time::timeout(EVICTION_RETRY, acquired).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        self.table.is_slot_wanted.store(false, Ordering::Relaxed);
        permit
    }

    fn evict_one(&self) {
        let open = self.table.open();
        let first = open
            .iter()
            .filter_map(|state| Some((state.eviction_order()?, state)))
            .min_by_key(|(order, _)| *order);
        if let Some((_, state)) = first {
            state.eviction.notify_one();
        }
    }

    /// Resolves when all slots are free.
    pub async fn all_released(&self) {
        let all = self.permits.acquire_many(self.count).await;
        drop(all.expect("the semaphore is never closed"));
    }
}
