use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::store::{ClaimId, Claimed, IntentRow};

const WORKERS: usize = 4;
const DESTINATIONS: i64 = 5;
const ALL: [Reputation; 3] = [Reputation::Fresh, Reputation::Proven, Reputation::Suspect];

fn is_named(destination: DestinationId) -> bool {
    destination.number() % 2 == 0
}

fn release(claim: Claim) -> Release {
    Release::untouched(&Claimed {
        intent: claim.intent,
        destination: claim.destination,
        claim: claim.id,
        due: Timestamp::from_millis(0),
        attempt: 1,
        history: 0,
    })
}

#[derive(Clone, Debug)]
enum Event {
    Start(Claim, usize),
    Prefetch(Claim),
    Promote(Claim, usize),
    Close(Claim),
    /// All that is prefetched for a destination comes back.
    Recall(DestinationId),
    MoveOn(DestinationId),
    CloseAll,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let destination = || (0..DESTINATIONS).prop_map(DestinationId::of_test);
    // A node that was fenced claims a delivery anew while its first attempt goes on.
    let claim = || {
        let parts = (0i64..12, destination(), 1i64..3);
        parts.prop_map(|(intent, destination, id)| Claim {
            intent: IntentRow::of_test(intent),
            destination,
            id: ClaimId::of_test(id),
        })
    };
    prop_oneof![
        4 => (claim(), 0usize..3).prop_map(|(claim, at)| Event::Start(claim, at)),
        4 => claim().prop_map(Event::Prefetch),
        4 => (claim(), 0usize..3).prop_map(|(claim, at)| Event::Promote(claim, at)),
        6 => claim().prop_map(Event::Close),
        1 => destination().prop_map(Event::Recall),
        1 => destination().prop_map(Event::MoveOn),
        1 => Just(Event::CloseAll),
        2 => (1u64..1_000).prop_map(Event::Wait),
    ]
}

/// A claim as the model has it: the reputation it began with, or the time of its prefetch.
type Phase = Result<Reputation, Duration>;

/// Everything is counted anew for each question.
#[derive(Default)]
struct Model {
    claims: BTreeMap<Claim, Phase>,
    /// Those for a former server, in flight and prefetched.
    moved: BTreeSet<Claim>,
    /// The last prefetch, of destinations with a claim.
    prefetched_at: BTreeMap<DestinationId, Duration>,
    now: Duration,
}

impl Model {
    fn of(&self, destination: DestinationId, is_in_flight: bool) -> usize {
        let claims = self.claims.iter().filter(|(claim, claimed)| {
            claim.destination == destination && claimed.is_ok() == is_in_flight
        });
        claims.count()
    }

    fn apply(&mut self, event: &Event, ledger: &mut Ledger) {
        match *event {
            Event::Start(claim, at) => {
                if let Entry::Vacant(free) = self.claims.entry(claim) {
                    free.insert(Ok(ALL[at]));
                    ledger.start(release(claim), is_named(claim.destination), ALL[at]);
                }
            }
            Event::Prefetch(claim) => {
                if let Entry::Vacant(free) = self.claims.entry(claim) {
                    free.insert(Err(self.now));
                    ledger.prefetch(release(claim), is_named(claim.destination), self.now);
                    self.prefetched_at.insert(claim.destination, self.now);
                }
            }
            Event::Promote(claim, at) => {
                ledger.promote(claim, ALL[at]);
                if let Some(claimed @ Err(_)) = self.claims.get_mut(&claim) {
                    *claimed = Ok(ALL[at]);
                }
            }
            Event::Close(claim) => self.close(claim, ledger),
            Event::Recall(destination) => {
                let claims = self.claims.iter();
                let prefetched =
                    claims.filter(|(claim, at)| claim.destination == destination && at.is_err());
                let keys: Vec<_> = prefetched.map(|(claim, _)| *claim).collect();
                for claim in keys {
                    self.close(claim, ledger);
                }
            }
            Event::MoveOn(destination) => {
                ledger.move_on(destination);
                let of_it = self.claims.iter();
                let of_it = of_it.filter(|(claim, _)| claim.destination == destination);
                self.moved.extend(of_it.map(|(claim, _)| *claim));
            }
            Event::CloseAll => {
                self.moved.clear();
                let mut closed: Vec<_> = ledger.close_all().iter().map(Release::claim).collect();
                closed.sort_unstable();
                let expected: Vec<_> = std::mem::take(&mut self.claims).into_keys().collect();
                assert_eq!(closed, expected);
                self.prefetched_at.clear();
            }
            Event::Wait(millis) => self.now += Duration::from_millis(millis),
        }
    }

    fn close(&mut self, claim: Claim, ledger: &mut Ledger) {
        let closed = ledger.close(claim);
        let expected = self.claims.remove(&claim);
        self.moved.remove(&claim);
        assert_eq!(
            closed.map(|closed| (closed.release.claim(), closed.was_in_flight)),
            expected.map(|claimed| (claim, claimed.is_ok()))
        );
        if self
            .claims
            .keys()
            .all(|one| one.destination != claim.destination)
        {
            self.prefetched_at.remove(&claim.destination);
        }
    }

    fn assert_agrees(&self, ledger: &Ledger) {
        let in_flight = self.claims.values().filter(|claimed| claimed.is_ok());
        let in_flight = in_flight.count();
        assert_eq!(ledger.claimed(), self.claims.len());
        assert_eq!(ledger.in_flight(), in_flight);
        assert_eq!(ledger.free_workers(), WORKERS.saturating_sub(in_flight));
        let most = (1 + PREFETCH_DEPTH) * WORKERS;
        assert_eq!(ledger.room(), most.saturating_sub(self.claims.len()));
        let occupancy = ledger.occupancy();
        assert_eq!(occupancy.total(), in_flight);
        for named in [true, false] {
            for reputation in ALL {
                let began = self.claims.iter().filter(|(claim, claimed)| {
                    is_named(claim.destination) == named && **claimed == Ok(reputation)
                });
                assert_eq!(occupancy.count(named, &[reputation]), began.count());
            }
        }
        assert_eq!(occupancy.adhoc(), occupancy.count(false, &ALL));
        for destination in (0..DESTINATIONS).map(DestinationId::of_test) {
            let counts = ledger.counts(destination);
            let moved = self.moved.iter();
            let moved = moved
                .filter(|claim| claim.destination == destination && self.claims[*claim].is_ok());
            let in_flight = self.of(destination, true) - moved.count();
            assert_eq!(counts.in_flight, in_flight);
            assert_eq!(counts.prefetched, self.of(destination, false));
            let has = self.claims.keys().any(|one| one.destination == destination);
            assert_eq!(ledger.has(destination), has);
        }
        let after = Duration::from_secs(1);
        let mut stalled: Vec<_> = ledger.stalled(self.now, after).collect();
        stalled.sort_unstable();
        let expected = self.prefetched_at.iter().filter(|(destination, at)| {
            self.of(**destination, false) > 0 && self.now.saturating_sub(**at) >= after
        });
        assert_eq!(stalled, expected.map(|(to, _)| *to).collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn the_counts_agree_with_a_recount_after_any_events(
        events in prop::collection::vec(event(), 0..150),
    ) {
        let mut ledger = Ledger::new(WORKERS);
        let mut model = Model::default();
        for event in &events {
            model.apply(event, &mut ledger);
            model.assert_agrees(&ledger);
        }
        for claim in model.claims.keys().copied().collect::<Vec<_>>() {
            model.close(claim, &mut ledger);
        }
        model.assert_agrees(&ledger);
        prop_assert!(ledger.is_empty(), "nothing is counted for ever");
    }
}
