//! A store on a fake clock, and the operations of a server on it.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock as _, FakeClock, Timestamp};
use crate::config;
use crate::model::{DeliveryState, IntentId, Level, Surface};
use crate::ops::metrics::Metrics;
use crate::stop::{self, Stop};
use crate::store::conformance::NewStore;
use crate::store::types::{
    Accept, Accepted, AdvanceBulk, AttemptRecord, BulkAction, BulkFilter, BulkId, BulkOperation,
    ClaimId, ClaimRequest, Claimed, DestinationChange, DestinationId, DueScan, IdempotencyKey,
    ListQuery, ListedDelivery, NewBulk, NoRouting, Owner, Prune, PruneCursor, Release, ScanCursor,
    SettleAndClaim, Settlement, StoredIntent, UnusedOrigins,
};
use crate::store::{Cutoffs, Operator, OriginsPassStep, Store, StoreContext, StoreError};

/// The fake clock's first time.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub const DAY: Duration = Duration::from_secs(86_400);

/// The longest wait of a delivery, given to the store at its start.
pub const LONGEST_WAIT: Duration = DAY;

/// Idempotency keys are kept for this long.
pub const WINDOW: Duration = Duration::from_secs(3600);

pub struct Scene {
    new: NewStore,
    pub clock: Arc<FakeClock>,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    /// Destinations for which something became due, a message for each commit.
    pub work: Receiver<Vec<DestinationId>>,
    claim: ClaimId,
}

/// An event of the source `source` for one destination, without a key.
pub fn event(destination: &str) -> Accept {
    event_to(&[destination])
}

/// An event of the source `source` for these destinations, without a key.
pub fn event_to(destinations: &[&str]) -> Accept {
    Accept {
        surface: Surface::Event,
        label: "source".to_owned(),
        event_type: None,
        url: None,
        query: None,
        destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: bytes::Bytes::from_static(b"{}"),
        key: None,
        window: WINDOW,
    }
}

/// An event of `source` under an idempotency key.
pub fn event_of(source: &str, key: &str, destinations: &[&str]) -> Accept {
    Accept {
        label: source.to_owned(),
        key: Some(IdempotencyKey::of_event(source, key.to_owned())),
        ..event_to(destinations)
    }
}

/// A relay of an API key to an ad hoc origin, without an idempotency key.
pub fn relay_to(api_key: &str, origin: &str) -> Accept {
    Accept {
        surface: Surface::Relay,
        label: "order.created".to_owned(),
        url: Some(format!("{origin}/hook")),
        owner: Some(Owner::of(api_key)),
        ..event(origin)
    }
}

impl Scene {
    pub fn new(new: NewStore) -> Self {
        Self::at(new, START)
    }

    /// Another store at the same time.
    #[allow(dead_code, reason = "a build with one engine moves nothing")]
    pub fn at_the_time_of(&self, new: NewStore) -> Self {
        Self::at(new, self.clock.now())
    }

    fn at(new: NewStore, now: Timestamp) -> Self {
        let clock = Arc::new(FakeClock::at(now));
        let metrics = Arc::new(Metrics::new(Level::Off));
        let (store, work) = open(&new, &clock, &metrics);
        Self {
            new,
            metrics,
            clock,
            store,
            work,
            claim: ClaimId::first(),
        }
    }

    #[allow(dead_code, reason = "a build with one engine moves nothing")]
    pub fn settings(&self) -> &config::Database {
        &self.new.settings
    }

    /// Stops the store, and opens it again.
    pub fn restart(&mut self) {
        self.stop();
        (self.store, self.work) = open(&self.new, &self.clock, &self.metrics);
    }

    /// Stops the store, and has the engine check its data.
    pub fn stop(&self) {
        self.store.begin_stop();
        let deadline = stop::Deadline::within(Duration::from_secs(60));
        assert!(self.store.ended().wait(&deadline), "the store hangs");
        (self.new.check)(&self.new.settings);
    }

    /// A command's connection, beside the server or without it.
    pub fn operator(&self) -> Operator {
        Operator::writing(&self.new.settings).expect("a store")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn try_accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        try_accept(&self.store, intent)
    }

    /// Accepts an intent that must be new.
    pub fn accept(&self, intent: Accept) -> IntentId {
        match self.try_accept(intent).expect("accepted") {
            Accepted::New(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Accepts intents that must be new, as many clients at once would: they share commits.
    pub fn accept_all(&self, intents: impl IntoIterator<Item = Accept>) -> Vec<IntentId> {
        let intents: Vec<Accept> = intents.into_iter().collect();
        let id = |accepted: Result<Accepted, StoreError>| match accepted.expect("accepted") {
            Accepted::New(id, _) => id,
            other => panic!("{other:?}"),
        };
        let mut ids = Vec::new();
        let mut intents = intents.into_iter().peekable();
        while intents.peek().is_some() {
            // Fewer than any engine refuses for being too many.
            let some = intents.by_ref().take(256);
            let accepting: Vec<_> = some
                .map(|intent| {
                    let mut accepting = Box::pin(self.store.accept(intent));
                    // The first poll sends it.
                    let mut context = Context::from_waker(Waker::noop());
                    match accepting.as_mut().poll(&mut context) {
                        Poll::Ready(accepted) => Err(accepted),
                        Poll::Pending => Ok(accepting),
                    }
                })
                .collect();
            let accepted = accepting.into_iter().map(|accepting| match accepting {
                Ok(accepting) => stop::block_on(accepting),
                Err(accepted) => accepted,
            });
            ids.extend(accepted.map(id));
        }
        ids
    }

    /// The destinations with waiting deliveries, by name.
    pub fn waiting(&self) -> Vec<(String, DestinationId)> {
        let reader = self.store.reader();
        let scan = DueScan {
            newcomers: &HashSet::new(),
            cursor: Some(ScanCursor::START),
            at_most: 100_000,
            names: &[],
        };
        let found = reader.scan(&scan).expect("a scan").part.waiting;
        let ids: Vec<_> = found.iter().map(|(origin, _)| origin.id).collect();
        let backlogs = reader.due(ids.iter().copied(), self.now(), 1);
        let backlogs = backlogs.expect("backlogs").into_iter().flatten();
        backlogs.map(|backlog| backlog.name).zip(ids).collect()
    }

    /// The id of a destination with waiting deliveries.
    pub fn destination(&self, name: &str) -> DestinationId {
        let waiting = self.waiting();
        let found = waiting.iter().find(|(known, _)| known == name);
        found
            .unwrap_or_else(|| panic!("nothing waits for {name}"))
            .1
    }

    /// Settles, releases and claims in one change; returns the claimed deliveries.
    pub fn change(
        &mut self,
        settlements: Vec<Settlement>,
        releases: Vec<Release>,
        requests: Vec<ClaimRequest>,
    ) -> Vec<Claimed> {
        self.claim = self.claim.next();
        let mut change =
            SettleAndClaim::new(settlements, releases, Vec::new(), requests, self.claim);
        while self.store.settle_and_claim(&mut change).expect("committed") {}
        change.take_claimed()
    }

    pub fn settle(&mut self, settlements: Vec<Settlement>) {
        assert!(self.change(settlements, Vec::new(), Vec::new()).is_empty());
    }

    pub fn claim(&mut self, destination: DestinationId, begin: usize) -> Vec<Claimed> {
        let request = ClaimRequest {
            destination,
            begin,
            prefetch: 0,
        };
        self.change(Vec::new(), Vec::new(), vec![request])
    }

    /// Claims everything that is due.
    pub fn claim_due(&mut self) -> Vec<Claimed> {
        let requests = self
            .waiting()
            .into_iter()
            .map(|(_, destination)| ClaimRequest {
                destination,
                begin: 10_000,
                prefetch: 0,
            });
        let requests = requests.collect();
        self.change(Vec::new(), Vec::new(), requests)
    }

    /// Claims everything that is due, and settles it.
    pub fn settle_due(&mut self, settle: impl Fn(&Self, Claimed) -> Settlement) {
        let claimed = self.claim_due();
        let settlements = claimed.into_iter().map(|claimed| settle(self, claimed));
        let settlements = settlements.collect();
        self.settle(settlements);
    }

    /// Delivers everything that is due.
    pub fn deliver_due(&mut self) {
        self.settle_due(Self::delivered);
    }

    /// Dead-letters everything that is due, with this error. The clock then advances, because bulk
    /// operations exclude deliveries that end at the time of their creation.
    pub fn dead_letter_due(&mut self, error: &str) {
        self.settle_due(|scene, claimed| scene.dead_letter(claimed, error));
        self.clock.advance(Duration::from_millis(1));
    }

    /// The record of the attempt, which failed with this error, or succeeded.
    pub fn record(&self, claimed: &Claimed, error: Option<&str>) -> AttemptRecord {
        AttemptRecord {
            attempt: claimed.attempt,
            history: claimed.history,
            started_at: self.now(),
            took: Duration::from_millis(3),
            status_code: Some(if error.is_some() { 500 } else { 200 }),
            failure: error.map(|_| "status"),
            is_transient: true,
            error: error.map(str::to_owned),
            response: Some(b"answer".to_vec()),
            address: Some("127.0.0.1".to_owned()),
            resolve: Some(Duration::from_millis(1)),
            connect: Some(Duration::from_millis(2)),
            tls: Some(Duration::from_millis(1)),
            first_byte: Some(Duration::from_millis(2)),
            next: "next step".to_owned(),
        }
    }

    pub fn delivered(&self, claimed: Claimed) -> Settlement {
        Settlement::delivered(
            claimed.claim(),
            self.record(&claimed, None),
            DestinationChange::default(),
        )
    }

    pub fn dead_letter(&self, claimed: Claimed, error: &str) -> Settlement {
        let record = AttemptRecord {
            is_transient: false,
            ..self.record(&claimed, Some(error))
        };
        Settlement::dead_letter(claimed.claim(), record, DestinationChange::default())
    }

    /// A failed attempt whose delivery is due again after `wait`.
    pub fn retry(&self, claimed: Claimed, wait: Duration) -> Settlement {
        let at = self.now().plus(wait);
        let record = self.record(&claimed, Some("answered 500"));
        Settlement::retry(claimed.claim(), record, at, DestinationChange::default())
    }

    /// A stored intent.
    pub fn intent(&self, id: IntentId) -> Option<StoredIntent> {
        self.operator().intent(id).expect("a read")
    }

    /// The states of an intent's deliveries, with the attempts of their current budgets.
    pub fn states(&self, id: IntentId) -> Vec<(DeliveryState, u32)> {
        let deliveries = self.intent(id).map(|intent| intent.deliveries);
        let deliveries = deliveries.into_iter().flatten();
        deliveries.map(|one| (one.state, one.attempts)).collect()
    }

    /// All deliveries in a state, or in any.
    pub fn list(&self, state: Option<DeliveryState>) -> Vec<ListedDelivery> {
        let query = ListQuery {
            state,
            limit: 1_000_000,
            ..ListQuery::default()
        };
        self.operator().list(&query).expect("a list")
    }

    /// The numbers of stored intents and deliveries.
    pub fn size(&self) -> (usize, usize) {
        let listed = self.list(None);
        let intents: HashSet<_> = listed.iter().map(|one| one.id.to_string()).collect();
        (intents.len(), listed.len())
    }

    /// Creates bulk operations, one for each destination with matching dead letters.
    pub fn create_bulk(
        &self,
        action: BulkAction,
        change: impl FnOnce(&mut BulkFilter),
    ) -> Vec<BulkId> {
        let mut filter = self.all_dead_letters();
        change(&mut filter);
        self.create(NewBulk {
            filter,
            ..NewBulk::of(action)
        })
    }

    /// Creates bulk operations.
    pub fn create(&self, new: NewBulk) -> Vec<BulkId> {
        let mut operator = self.operator();
        let parts = operator.count_bulk(&new).expect("a count");
        operator.create_bulk(new, parts).expect("operations")
    }

    /// A filter that matches the dead letters of now.
    pub fn all_dead_letters(&self) -> BulkFilter {
        BulkFilter::dead_letters().before(self.now())
    }

    /// Bulk operations as (done, total or -1, has ended, is cancelled).
    pub fn bulk(&self, ids: &[BulkId]) -> Vec<(i64, i64, bool, bool)> {
        let shown = |one: BulkOperation| {
            let has_ended = one.ended_at.is_some();
            let total = one.total.unwrap_or(-1);
            (one.tally.done, total, has_ended, one.is_cancelled)
        };
        let all = self.operator().bulk_operations(ids).expect("a read");
        all.into_iter().map(shown).collect()
    }

    /// Advances the bulk operations by one step.
    pub fn advance_bulk(&self) -> usize {
        let step = AdvanceBulk {
            is_paced: false,
            after: None,
            routing: &NoRouting,
        };
        let reader = self.store.reader();
        self.store
            .advance_bulk(&reader, &step)
            .expect("a step")
            .done
    }

    /// Advances the bulk operations until none is left.
    pub fn finish_bulk(&self) {
        let reader = self.store.reader();
        for _ in 0..10_000 {
            if !reader.has_bulk_under_way().expect("a read") {
                return;
            }
            self.advance_bulk();
        }
        panic!("the bulk operations don't end");
    }

    /// The cutoffs of retention: delivered for 7 days, dead-lettered for 30.
    pub fn cutoffs(&self) -> Cutoffs {
        Cutoffs {
            delivered: Some(self.now().minus(DAY * 7)),
            dead_lettered: Some(self.now().minus(DAY * 30)),
            keys: self.now().minus(WINDOW),
        }
    }

    /// Deletes everything that has expired.
    pub fn prune(&self, cutoffs: &Cutoffs) {
        let reader = self.store.reader();
        let mut cursor = PruneCursor::START;
        while !cursor.is_at_end() {
            let expired = reader.expired(cutoffs, cursor).expect("a read");
            cursor = expired.next;
            let mut prune = Prune::new(expired);
            while self.store.prune(&mut prune).expect("a step") {}
        }
    }

    /// Makes a whole pass over unused origins.
    pub fn forget_unused_origins(&self) {
        let (mut pass, reader) = (UnusedOrigins::new(), self.store.reader());
        let mut step = || {
            self.store
                .forget_unused_origins(&mut pass, &reader, self.now())
        };
        while step().expect("a step") != OriginsPassStep::Over {}
    }

    /// A whole sweep of retention.
    pub fn sweep(&self) {
        self.prune(&self.cutoffs());
        self.forget_unused_origins();
        while self.store.tidy_up().expect("a step") {}
    }

    /// Whether a destination of this name is stored.
    pub fn knows(&self, destination: &str) -> bool {
        self.operator().is_destination(destination).expect("a read")
    }
}

/// Accepts an intent, from any thread.
pub fn try_accept(store: &Store, intent: Accept) -> Result<Accepted, StoreError> {
    stop::block_on(store.accept(intent))
}

fn open(
    new: &NewStore,
    clock: &Arc<FakeClock>,
    metrics: &Arc<Metrics>,
) -> (Store, Receiver<Vec<DestinationId>>) {
    let (announce, work) = channel();
    let announce = Mutex::new(announce);
    let store = Store::open(
        &new.settings,
        LONGEST_WAIT,
        StoreContext {
            clock: Arc::<FakeClock>::clone(clock),
            node: crate::config::Node::default(),
            metrics: Arc::clone(metrics),
            stop: Stop::default(),
            on_work: Arc::new(move |destinations: &[DestinationId]| {
                let announce = announce.lock().expect("no panics");
                // The test may have ended.
                let _ = announce.send(destinations.to_vec());
            }),
            on_outside_write: Arc::new(|| {}),
            on_broken: Arc::new(|why| panic!("{why}")),
        },
    )
    .expect("the store opens");
    (store, work)
}
