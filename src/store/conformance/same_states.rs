//! The same operations on two stores come to the same states, whatever engines keep them.
//!
//! The operations are random ones of a server and of operators, on one clock. Events are compared
//! in the order of their acceptance, through the facade's own reads: ids and numbers of
//! destinations are each engine's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;

use crate::model::{BreakerChange, IntentId, OnDead, OrderKey};
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{Scene, event_of, event_to};
use crate::store::types::{
    Accepted, BulkFilter, ClaimRequest, Claimed, DestinationChange, NewBulk, OperationCreation,
    Release, Settlement, StoredDelivery, StoredIntent,
};

const DESTINATIONS: [&str; 3] = ["a", "b", "c"];

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    Delivered,
    /// Due again after some seconds.
    Retried(u8),
    Dead(OnDead),
    Released,
    /// The same as `Retried`; and nothing is sent to the destination for as long.
    Held(u8),
    /// The same; and the breaker opens until a probe after as long.
    Broken(u8),
    /// Delivered, and the breaker closes.
    Healed,
    /// Dead, and the destination is paused: it answered 410.
    Gone,
}

/// An operation. Numbers choose among what is there, so that shrinking keeps them valid.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Accepts an event for some of the destinations, perhaps under a key, perhaps in an order.
    Accept {
        to: u8,
        key: Option<u8>,
        line: Option<u8>,
    },
    /// Claims some of what is due at a destination.
    Claim(u8),
    /// Ends the n-th attempt of those under way.
    End(u8, Outcome),
    /// Ends all attempts under way, and claims some of what is due everywhere, in one change.
    Turn(Outcome),
    Replay(u8),
    Discard(u8),
    Retry(u8),
    Reroute(u8, u8, u8),
    SendTo(u8, u8),
    Erase(u8),
    Pause(u8),
    Resume(u8),
    /// Lets the breaker's next probe go.
    ProbeNow(u8),
    /// Stops the store, and opens it again: what was under way is interrupted.
    Restart,
    /// Replays, or discards, all dead letters by a bulk operation.
    ReplayAll,
    DiscardWaiting(u8),
    /// Deletes what has expired.
    Sweep,
    /// Lets seconds pass.
    Wait(u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Delivered),
        3 => (1..60_u8).prop_map(Outcome::Retried),
        3 => prop_oneof![Just(OnDead::Skip), Just(OnDead::Block)].prop_map(Outcome::Dead),
        1 => Just(Outcome::Released),
        1 => (1..60_u8).prop_map(Outcome::Held),
        1 => (1..60_u8).prop_map(Outcome::Broken),
        1 => Just(Outcome::Healed),
        1 => Just(Outcome::Gone),
    ];
    let accept = (
        0..8_u8,
        proptest::option::of(0..4_u8),
        proptest::option::of(0..2_u8),
    );
    prop_oneof![
        6 => accept.prop_map(|(to, key, line)| Operation::Accept { to, key, line }),
        6 => (0..3_u8).prop_map(Operation::Claim),
        8 => (any::<u8>(), outcome.clone())
            .prop_map(|(nth, outcome)| Operation::End(nth, outcome)),
        4 => outcome.prop_map(Operation::Turn),
        2 => any::<u8>().prop_map(Operation::Replay),
        2 => any::<u8>().prop_map(Operation::Discard),
        2 => any::<u8>().prop_map(Operation::Retry),
        2 => (any::<u8>(), 0..3_u8, 0..3_u8)
            .prop_map(|(nth, from, to)| Operation::Reroute(nth, from, to)),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(nth, to)| Operation::SendTo(nth, to)),
        1 => any::<u8>().prop_map(Operation::Erase),
        1 => (0..3_u8).prop_map(Operation::Pause),
        1 => (0..3_u8).prop_map(Operation::Resume),
        1 => (0..3_u8).prop_map(Operation::ProbeNow),
        1 => Just(Operation::Restart),
        1 => Just(Operation::ReplayAll),
        1 => (0..3_u8).prop_map(Operation::DiscardWaiting),
        1 => Just(Operation::Sweep),
        // A key's window, and retention, end within the longer ones.
        3 => prop_oneof![3 => 1..90_u32, 1 => Just(7_200), 1 => Just(8 * 86_400)]
            .prop_map(Operation::Wait),
    ]
}

/// Up to 30 operations.
pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(), 1..30)
}

/// An attempt under way: the event's number, and its destination.
type Attempt = (usize, &'static str);

/// A store, and what is known of it.
pub struct Run {
    pub scene: Scene,
    events: Vec<IntentId>,
    under_way: BTreeMap<Attempt, Claimed>,
}

fn name(number: u8) -> &'static str {
    DESTINATIONS[usize::from(number) % DESTINATIONS.len()]
}

impl Run {
    pub fn new(new: NewStore) -> Self {
        Self {
            scene: Scene::new(new),
            events: Vec::new(),
            under_way: BTreeMap::new(),
        }
    }

    /// The same events in another store that was stopped.
    #[allow(dead_code, reason = "a build with one engine moves nothing")]
    pub fn in_other(&self, new: NewStore) -> Self {
        Self {
            scene: self.scene.at_the_time_of(new),
            events: self.events.clone(),
            under_way: BTreeMap::new(),
        }
    }

    /// Stops the store, and opens it again: what was under way is interrupted.
    pub fn restart(&mut self) {
        self.scene.restart();
        self.under_way.clear();
    }

    /// Makes an operation; its answer.
    pub fn make(&mut self, operation: &Operation) -> String {
        // No two changes at one time: what is due at the same time has no order of its own.
        self.scene.clock.advance(Duration::from_millis(1));
        match *operation {
            Operation::Accept { to, key, line } => self.accept(to, key, line),
            Operation::Claim(at) => self.claim(name(at)),
            Operation::End(nth, outcome) => self.end(nth, outcome),
            Operation::Turn(outcome) => self.turn(outcome),
            Operation::Replay(nth) => self.act_on(nth, NewBulk::replay(BulkFilter::dead_letters())),
            Operation::Discard(nth) => {
                self.act_on(nth, NewBulk::discard(BulkFilter::dead_letters()))
            }
            Operation::Retry(nth) => self.act_on(nth, NewBulk::retry(BulkFilter::waiting())),
            Operation::Reroute(nth, from, to) => {
                let (from, to) = (name(from).to_owned(), name(to).to_owned());
                self.act_on(nth, NewBulk::reroute(from, to, BulkFilter::waiting()))
            }
            Operation::SendTo(nth, to) => {
                let to = name(to).to_owned();
                self.act_on(nth, NewBulk::send_to(to, BulkFilter::events()))
            }
            Operation::Erase(nth) => self.act_on(nth, NewBulk::erase(BulkFilter::events())),
            Operation::Pause(at) => {
                let store = &self.scene.store;
                let paused = store.pause(name(at).to_owned(), "a reason".to_owned());
                format!("{:?}", runtime().block_on(paused).expect("a change"))
            }
            Operation::Resume(at) => {
                let resumed = self.scene.store.resume(name(at).to_owned(), None);
                format!("{:?}", runtime().block_on(resumed).expect("a change"))
            }
            Operation::ProbeNow(at) => {
                let asked = self.scene.store.probe_now(name(at).to_owned());
                format!("{:?}", runtime().block_on(asked).expect("a change"))
            }
            Operation::Restart => {
                self.restart();
                String::new()
            }
            Operation::ReplayAll => self.bulk(NewBulk::replay(self.scene.all_dead_letters())),
            Operation::DiscardWaiting(at) => {
                let filter = BulkFilter {
                    destination: Some(name(at).to_owned()),
                    ..BulkFilter::waiting()
                };
                self.bulk(NewBulk::discard(filter))
            }
            Operation::Sweep => {
                self.scene.prune(&self.scene.cutoffs());
                String::new()
            }
            Operation::Wait(seconds) => {
                self.scene
                    .clock
                    .advance(Duration::from_secs(seconds.into()));
                String::new()
            }
        }
    }

    fn accept(&mut self, to: u8, key: Option<u8>, line: Option<u8>) -> String {
        let chosen = DESTINATIONS.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| to & (1 << at) != 0);
        let names: Vec<&str> = chosen.map(|(_, name)| *name).collect();
        let mut event = match key {
            Some(key) => event_of("source", &key.to_string(), &names),
            None => event_to(&names),
        };
        if let Some(line) = line {
            let key = OrderKey::from_number(line.into());
            event.order_keys = (0..names.len()).map(|at| (at, key)).collect();
        }
        match self.scene.try_accept(event).expect("an answer") {
            Accepted::New(id, _) => {
                self.events.push(id);
                "new".to_owned()
            }
            Accepted::Duplicate(duplicate) => {
                let of = self.events.iter().position(|id| *id == duplicate.id);
                format!("duplicate of {of:?}")
            }
            Accepted::Conflict => "conflict".to_owned(),
            Accepted::TooManyOrigins => "too many origins".to_owned(),
        }
    }

    fn claim(&mut self, destination: &'static str) -> String {
        let requests = self.requests(|known| known == destination);
        let claimed = self.scene.change(Vec::new(), Vec::new(), requests);
        self.begin(claimed)
    }

    /// Requests for all that is due at these of the destinations for which something waits.
    fn requests(&self, is_meant: impl Fn(&str) -> bool) -> Vec<ClaimRequest> {
        let mut waiting = self.scene.waiting();
        waiting.retain(|(known, _)| is_meant(known));
        waiting.sort_unstable();
        let request = |(_, destination)| ClaimRequest {
            destination,
            begin: 100,
            prefetch: 0,
        };
        waiting.into_iter().map(request).collect()
    }

    /// Takes note of attempts that begin; which they are.
    fn begin(&mut self, claimed: Vec<Claimed>) -> String {
        let reader = self.scene.store.reader();
        let mut begun = BTreeSet::new();
        for one in claimed {
            let event = self.events.iter().position(|id| id.row() == one.intent.0);
            let event = event.expect("it was accepted");
            let known = reader.destination_name(one.destination).expect("a read");
            let known = known.expect("it has a name");
            let destination = DESTINATIONS.iter().find(|name| **name == known);
            let attempt = (event, *destination.expect("one of the three"));
            begun.insert((attempt, one.attempt, one.history));
            self.under_way.insert(attempt, one);
        }
        format!("{begun:?}")
    }

    fn end(&mut self, nth: u8, outcome: Outcome) -> String {
        let count = self.under_way.len().max(1);
        let chosen = self.under_way.keys().nth(usize::from(nth) % count).copied();
        let Some(attempt) = chosen else {
            return String::new();
        };
        let claimed = self.under_way.remove(&attempt).expect("it is there");
        let (settlements, releases) = self.ended([claimed], outcome);
        self.scene.change(settlements, releases, Vec::new());
        format!("{attempt:?}")
    }

    fn turn(&mut self, outcome: Outcome) -> String {
        let ended = std::mem::take(&mut self.under_way);
        let attempts: Vec<Attempt> = ended.keys().copied().collect();
        let (settlements, releases) = self.ended(ended.into_values(), outcome);
        let requests = self.requests(|_| true);
        let claimed = self.scene.change(settlements, releases, requests);
        format!("{attempts:?}, then {}", self.begin(claimed))
    }

    /// Settlements and releases of attempts that end like this.
    fn ended(
        &self,
        attempts: impl IntoIterator<Item = Claimed>,
        outcome: Outcome,
    ) -> (Vec<Settlement>, Vec<Release>) {
        let (mut settlements, mut releases) = (Vec::new(), Vec::new());
        for claimed in attempts {
            if let Outcome::Released = outcome {
                releases.push(Release::untouched(&claimed));
            } else {
                settlements.push(self.settlement(claimed, outcome));
            }
        }
        (settlements, releases)
    }

    fn settlement(&self, claimed: Claimed, outcome: Outcome) -> Settlement {
        let scene = &self.scene;
        let after = |seconds: u8| Duration::from_secs(seconds.into());
        let none = DestinationChange::default();
        let change = match outcome {
            Outcome::Held(seconds) => DestinationChange {
                hold_until: Some(scene.now().plus(after(seconds))),
                ..none
            },
            Outcome::Broken(seconds) => DestinationChange {
                breaker: Some(BreakerChange::Open(after(seconds))),
                is_proven: Some(false),
                ..none
            },
            Outcome::Healed => DestinationChange {
                breaker: Some(BreakerChange::Closed),
                is_proven: Some(true),
                ..none
            },
            Outcome::Gone => DestinationChange {
                pause: Some("it answered 410 Gone"),
                ..none
            },
            _ => none,
        };
        let settlement = match outcome {
            Outcome::Delivered | Outcome::Healed => scene.delivered(claimed),
            Outcome::Retried(seconds) | Outcome::Held(seconds) | Outcome::Broken(seconds) => {
                scene.retry(claimed, after(seconds))
            }
            Outcome::Dead(on_dead) => scene.dead_letter(claimed, "e").ordered(Some(on_dead)),
            Outcome::Gone => scene.dead_letter(claimed, "gone"),
            Outcome::Released => unreachable!("it has no outcome"),
        };
        Settlement {
            change,
            ..settlement
        }
    }

    /// Makes an operation on one event.
    fn act_on(&mut self, nth: u8, mut new: NewBulk) -> String {
        let count = self.events.len().max(1);
        let Some(id) = self.events.get(usize::from(nth) % count) else {
            return String::new();
        };
        new.filter.ids = vec![*id];
        self.bulk(new)
    }

    /// Makes an operation as a server does, by the server's clock.
    fn bulk(&mut self, new: NewBulk) -> String {
        let store = &self.scene.store;
        let created = runtime().block_on(store.create_operation(new));
        let OperationCreation::New(operation) = created.expect("an operation") else {
            panic!("it has no nonce");
        };
        for _ in 0..100 {
            if !store.reader().has_bulk_under_way().expect("a read") {
                break;
            }
            self.scene.advance_bulk();
        }
        let stored = runtime().block_on(store.operation(operation.id));
        let stored = stored.expect("a read").expect("it is there");
        let has_ended = stored.ended_at.is_some();
        format!("{:?} {} {has_ended}", stored.tally, stored.in_flight)
    }

    /// All destinations and events as they stand.
    pub fn states(&self) -> String {
        let mut text = String::new();
        let operator = self.scene.operator();
        let mut destinations = operator.stats().expect("a read");
        destinations.sort_unstable_by(|one, other| one.destination.cmp(&other.destination));
        for stats in destinations {
            // One engine also knows a destination that only a duplicate named.
            let counts = [
                stats.waiting,
                stats.processing,
                stats.dead_lettered,
                stats.discarded,
            ];
            let is_kept = stats.paused.is_some() || stats.held_until.or(stats.probe_at).is_some();
            if is_kept || counts != [0; 4] {
                let _ = writeln!(text, "{stats:?}");
            }
        }
        let unrouted = operator.count_unrouted().expect("a read");
        let _ = writeln!(text, "{unrouted} unrouted");
        for (number, id) in self.events.iter().enumerate() {
            let _ = writeln!(text, "event {number}:");
            match self.scene.intent(*id) {
                Some(intent) => write_intent(&mut text, &intent),
                None => text.push_str("  deleted\n"),
            }
        }
        text
    }
}

fn write_intent(text: &mut String, intent: &StoredIntent) {
    let _ = writeln!(
        text,
        "  {:?} {:?} unrouted {}",
        intent.gone,
        String::from_utf8_lossy(&intent.payload),
        intent.is_unrouted
    );
    let mut deliveries: Vec<&StoredDelivery> = intent.deliveries.iter().collect();
    deliveries.sort_unstable_by_key(|one| &one.destination);
    for one in deliveries {
        let _ = writeln!(
            text,
            "  to {}: {:?} attempts {} due {:?} error {:?} discarded {:?}",
            one.destination,
            one.state,
            one.attempts,
            one.next_attempt_at,
            one.last_error,
            one.discarded_at
        );
        for entry in &one.history {
            let _ = writeln!(
                text,
                "    {} {} {:?} {:?} {:?}",
                entry.attempt, entry.outcome, entry.error, entry.next, entry.failure
            );
        }
    }
}

/// Makes the same operations on two empty stores, and compares answers and states after each.
pub fn compare(one: NewStore, other: NewStore, operations: &[Operation]) {
    let (mut one, mut other) = (Run::new(one), Run::new(other));
    for (at, operation) in operations.iter().enumerate() {
        let answers = (one.make(operation), other.make(operation));
        let step = format!("after {:#?}", &operations[..=at]);
        assert_eq!(answers.0, answers.1, "the answers, {step}");
        assert_eq!(one.states(), other.states(), "the states, {step}");
    }
    one.scene.stop();
    other.scene.stop();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn two_stores_of_one_engine_are_the_same(operations in operations()) {
        let new = crate::store::sqlite::tests::new_store;
        compare(new(), new(), &operations);
    }
}

with_postgres! {
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn postgres_comes_to_the_same_states_as_sqlite(operations in operations()) {
            // Without a server it is skipped, which the engine's tests say.
            if let Some(postgres) = crate::store::postgres::tests::new_store() {
                compare(crate::store::sqlite::tests::new_store(), postgres, &operations);
            }
        }
    }
}
