//! The counts of deliveries by state, after any operations.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Transition};
use crate::store::Cutoffs;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{Scene, event_to};
use crate::store::types::{
    BulkAction, COUNTED_STATES, ClaimId, ClaimRequest, Claimed, DestinationsQuery, Release,
    Settlement,
};

const DESTINATIONS: [&str; 3] = ["a", "b", "https://c.example"];

#[derive(Clone, Debug)]
enum Action {
    /// For the destinations whose bit is set.
    Accept(u8),
    Claim {
        destination: usize,
        begin: usize,
        prefetch: usize,
    },
    ClaimDue,
    /// Settles everything that is claimed.
    SettleAll(Transition),
    /// Settles one of the claimed deliveries.
    Settle(usize, Transition),
    /// Settles and releases a claimed delivery under another claim.
    SettleLate(usize),
    Release(usize),
    OfIntent(BulkAction, usize, By),
    /// Creates a bulk operation on the dead letters of a destination.
    Bulk(BulkAction, usize),
    AdvanceBulk,
    Prune,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Server,
    /// A command beside the server.
    Command,
    /// A command while no server runs.
    CommandAlone,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Accept, AdvanceBulk, Bulk, Claim, ClaimDue, OfIntent, Prune, Release, Restart, Settle,
        SettleAll, SettleLate,
    };
    let by = prop_oneof![
        4 => Just(By::Server),
        4 => Just(By::Command),
        1 => Just(By::CommandAlone),
    ];
    let kind = prop_oneof![Just(BulkAction::Replay), Just(BulkAction::Discard)];
    let step = prop_oneof![
        Just(Transition::Deliver),
        Just(Transition::Retry),
        Just(Transition::DeadLetter)
    ];
    prop_oneof![
        6 => (1..8u8).prop_map(Accept),
        6 => (0..3usize, 0..4usize, 0..3usize)
            .prop_map(|(destination, begin, prefetch)| Claim { destination, begin, prefetch }),
        4 => Just(ClaimDue),
        4 => step.clone().prop_map(SettleAll),
        4 => (any::<usize>(), step).prop_map(|(which, step)| Settle(which, step)),
        1 => any::<usize>().prop_map(SettleLate),
        2 => any::<usize>().prop_map(Release),
        4 => (kind.clone(), any::<usize>(), by)
            .prop_map(|(kind, which, by)| OfIntent(kind, which, by)),
        1 => (kind, 0..3usize).prop_map(|(kind, destination)| Bulk(kind, destination)),
        2 => Just(AdvanceBulk),
        2 => Just(Prune),
        1 => Just(Restart),
    ]
}

struct World {
    scene: Scene,
    accepted: Vec<IntentId>,
    claimed: Vec<Claimed>,
}

impl World {
    fn settlement(&self, claimed: Claimed, step: Transition) -> Settlement {
        match step {
            Transition::Deliver => self.scene.delivered(claimed),
            Transition::DeadLetter => self.scene.dead_letter(claimed, "error"),
            // Due at once, so that it is claimed again.
            _ => self.scene.retry(claimed, Duration::ZERO),
        }
    }

    fn take_claimed(&mut self, which: usize) -> Option<Claimed> {
        let count = self.claimed.len();
        (count > 0).then(|| self.claimed.swap_remove(which % count))
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Accept(bits) => {
                let names = DESTINATIONS.iter().enumerate();
                let chosen = names.filter(|(at, _)| bits >> at & 1 == 1);
                let chosen: Vec<&str> = chosen.map(|(_, name)| *name).collect();
                self.accepted.push(self.scene.accept(event_to(&chosen)));
            }
            Action::Claim {
                destination,
                begin,
                prefetch,
            } => {
                let waiting = self.scene.waiting().into_iter();
                let requests = waiting
                    .filter(|(name, _)| name == DESTINATIONS[destination])
                    .map(|(_, destination)| ClaimRequest {
                        destination,
                        begin,
                        prefetch,
                    });
                let requests = requests.collect();
                let claimed = self.scene.change(Vec::new(), Vec::new(), requests);
                self.claimed.extend(claimed);
            }
            Action::ClaimDue => self.claimed.extend(self.scene.claim_due()),
            Action::SettleAll(step) => {
                let claimed = std::mem::take(&mut self.claimed).into_iter();
                let settlements = claimed.map(|one| self.settlement(one, step));
                let settlements = settlements.collect();
                self.scene.settle(settlements);
            }
            Action::Settle(which, step) => {
                if let Some(claimed) = self.take_claimed(which) {
                    let settlement = self.settlement(claimed, step);
                    self.scene.settle(vec![settlement]);
                }
            }
            Action::SettleLate(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    let late = Claimed {
                        claim: ClaimId::first(),
                        ..claimed
                    };
                    let settlement = self.settlement(late, Transition::Retry);
                    let release = Release::untouched(&late);
                    self.scene
                        .change(vec![settlement], vec![release], Vec::new());
                    self.claimed.push(claimed);
                }
            }
            Action::Release(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    let release = Release::untouched(&claimed);
                    self.scene.change(Vec::new(), vec![release], Vec::new());
                }
            }
            Action::OfIntent(action, which, by) => self.of_intent(action, which, by),
            Action::Bulk(action, destination) => {
                let name = DESTINATIONS[destination].to_owned();
                let change = |filter: &mut crate::store::types::BulkFilter| {
                    filter.destination = Some(name);
                };
                self.scene.create_bulk(action, change);
            }
            Action::AdvanceBulk => drop(self.scene.advance_bulk()),
            Action::Prune => self.scene.prune(&Cutoffs {
                delivered: Some(Timestamp::from_millis(i64::MAX)),
                dead_lettered: Some(Timestamp::from_millis(i64::MAX)),
                keys: Timestamp::from_millis(0),
            }),
            Action::Restart => {
                self.scene.restart();
                self.claimed.clear();
            }
        }
    }

    fn of_intent(&mut self, action: BulkAction, which: usize, by: By) {
        if self.accepted.is_empty() {
            return;
        }
        let id = self.accepted[which % self.accepted.len()];
        let by_command = |scene: &Scene| match action {
            BulkAction::Replay => scene.operator().replay(id),
            _ => scene.operator().discard(id),
        };
        let done = match by {
            By::Server if action == BulkAction::Replay => self.scene.store.replay(id),
            // Only commands discard.
            By::Server | By::Command => by_command(&self.scene),
            By::CommandAlone => {
                self.scene.stop();
                let done = by_command(&self.scene);
                self.scene.restart();
                self.claimed.clear();
                done
            }
        };
        done.expect("committed");
    }

    /// The counts that the store keeps, and those of a list.
    fn counts(&self) -> ([i64; 4], [i64; 4]) {
        let listed = self.scene.list(None);
        let recounted = COUNTED_STATES.map(|state: DeliveryState| {
            // Discarded ones are counted apart.
            let listed = listed.iter().filter(|one| one.discarded_at.is_none());
            let of_state = listed.filter(|one| one.state == state);
            i64::try_from(of_state.count()).expect("few")
        });
        // The next transaction takes the counts that commands have left.
        self.scene.store.tidy_up().expect("a step");
        let kept = loop {
            // After a start the deliveries are counted beside the writer.
            match runtime().block_on(self.scene.store.deliveries()) {
                Some(kept) => break kept.map(|(_, count)| count),
                None => std::thread::yield_now(),
            }
        };
        (kept, recounted)
    }

    /// The waiting deliveries of each destination by the kept counts, and those of a list.
    fn waiting(&self) -> Vec<(String, i64, i64)> {
        let stats = self.scene.operator().stats().expect("a read");
        let listed = self.scene.list(None);
        let recount = |name: &str| {
            let waiting = listed.iter().filter(|one| {
                let is_waiting =
                    matches!(one.state, DeliveryState::Queued | DeliveryState::Retrying);
                one.destination == name && is_waiting
            });
            i64::try_from(waiting.count()).expect("few")
        };
        let compared = stats.into_iter().map(|one| {
            let recounted = recount(&one.destination);
            (one.destination, one.waiting, recounted)
        });
        compared.collect()
    }

    /// The dead letters of each destination by the kept counts, and those of a list.
    fn dead(&self) -> Vec<(String, i64, i64)> {
        let listed = self.scene.list(Some(DeliveryState::DeadLettered));
        let query = DestinationsQuery {
            configured: DESTINATIONS.map(str::to_owned).to_vec(),
            name: None,
            offset: 0,
            limit: DESTINATIONS.len(),
        };
        let page = self.scene.store.destinations_page(query);
        let page = runtime().block_on(page).expect("a read");
        let compared = page.found.into_iter().map(|found| {
            let dead = listed.iter().filter(|one| one.destination == found.name);
            let recounted = i64::try_from(dead.count()).expect("few");
            (found.name, found.dead_lettered, recounted)
        });
        compared.collect()
    }
}

pub fn counts_equal_a_recount_after_any_operations(new: NewStore) {
    let world = std::cell::RefCell::new(World {
        scene: Scene::new(new),
        accepted: Vec::new(),
        claimed: Vec::new(),
    });
    let mut runner = TestRunner::new(ProptestConfig {
        // The cases share one store, so a shorter one would not fail.
        max_shrink_iters: 0,
        ..ProptestConfig::with_cases(24)
    });
    let run = runner.run(&prop::collection::vec(action(), 1..60), |actions| {
        let mut world = world.borrow_mut();
        for action in &actions {
            world.act(action);
            let (kept, recounted) = world.counts();
            prop_assert_eq!(kept, recounted, "{:?}", action);
            for (name, kept, recounted) in world.waiting().into_iter().chain(world.dead()) {
                prop_assert_eq!(kept, recounted, "{:?}: {}", action, name);
            }
        }
        Ok(())
    });
    run.expect("each run of actions");
    world.borrow().scene.stop();
}
