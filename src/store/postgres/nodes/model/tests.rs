use stateright::{Checker, Model, Property};

use crate::store::postgres::nodes::membership::Rules;
use crate::store::postgres::nodes::model::actions::{Action, Protocol};
use crate::store::postgres::nodes::model::faults::{Budget, Mutant};
use crate::store::postgres::nodes::model::world::{Absence, World};

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.rules, self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.follow(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        use Absence as A;
        vec![
            never("written by the dead", |_, world| {
                world.violated != Some(A::WrittenByTheDead)
            }),
            never("two outcomes", |_, world| {
                world.violated != Some(A::TwoOutcomes)
            }),
            never("two owners", |_, world| {
                world.violated != Some(A::TwoOwners)
            }),
            never("attempted twice", |_, world| {
                world.violated != Some(A::AttemptedTwice)
            }),
            never("ownerless", |_, world| world.violated != Some(A::Ownerless)),
            never("left behind", |_, world| {
                world.violated != Some(A::LeftBehind)
            }),
            never("orphaned", |_, world| world.violated != Some(A::Orphaned)),
            never("taken over alive", |_, world| {
                world.violated != Some(A::TakenOverAlive)
            }),
            Property::sometimes("all is delivered", |protocol: &Protocol, world: &World| {
                world.database.attempts == protocol.attempts
            }),
        ]
    }
}

/// A property that holds in all states.
fn never(name: &'static str, holds: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

fn rules(lease: u64) -> Rules {
    Rules {
        margin: 0,
        ..Rules::new(lease, 1)
    }
}

fn protocol(attempts: [u8; 2], budget: Budget, mutant: Option<Mutant>) -> Protocol {
    let mut rules = rules(4);
    match mutant {
        Some(Mutant::TakeOverUnheard) => rules.heard_for = 0,
        Some(Mutant::GapIgnored) => rules.gap = u64::MAX,
        Some(Mutant::ShortLease) => rules = self::rules(3),
        _ => {}
    }
    Protocol {
        rules,
        budget,
        attempts,
        mutant,
    }
}

/// The absences that don't hold, and how many states were seen.
fn check(attempts: [u8; 2], budget: Budget, mutant: Option<Mutant>) -> (Vec<&'static str>, usize) {
    let checker = protocol(attempts, budget, mutant).checker().threads(2);
    let checker = if mutant.is_some() {
        checker.finish_when(stateright::HasDiscoveries::AnyFailures)
    } else {
        checker
    };
    let checker = checker.spawn_bfs().join();
    let mut found: Vec<_> = checker.discoveries().into_keys().collect();
    found.retain(|name| *name != "all is delivered");
    if mutant.is_none() {
        for (name, path) in checker.discoveries() {
            if name != "all is delivered" {
                println!("{name}: {:#?}", path.into_actions());
            }
        }
    }
    (found, checker.unique_state_count())
}

const NOTHING: Budget = Budget {
    pauses: 0,
    kills: 0,
    starts: 0,
    leaves: 0,
    outages: 0,
    losses: 0,
    replays: 0,
};

/// Faults with which every state is looked at.
const FAULTS: [Budget; 6] = [
    Budget {
        starts: 1,
        leaves: 1,
        ..NOTHING
    },
    Budget {
        starts: 1,
        kills: 1,
        ..NOTHING
    },
    Budget {
        outages: 1,
        losses: 1,
        ..NOTHING
    },
    Budget {
        pauses: 1,
        losses: 1,
        ..NOTHING
    },
    Budget {
        pauses: 1,
        starts: 1,
        ..NOTHING
    },
    Budget {
        pauses: 1,
        outages: 1,
        ..NOTHING
    },
];

fn assert_kept(attempts: [u8; 2], budget: Budget) {
    let (found, states) = check(attempts, budget, None);
    println!("{budget:?}, {attempts:?} attempts: {states} states");
    assert_eq!(found, [""; 0], "{budget:?}");
}

#[test]
fn membership_keeps_its_promises_beside_two_faults() {
    FAULTS[..4]
        .iter()
        .for_each(|budget| assert_kept([0, 0], *budget));
}

#[test]
fn attempts_keep_their_promises_beside_a_fault() {
    for budget in [
        Budget {
            leaves: 1,
            ..NOTHING
        },
        Budget {
            losses: 1,
            ..NOTHING
        },
        Budget {
            pauses: 1,
            ..NOTHING
        },
    ] {
        assert_kept([1, 0], budget);
    }
}

#[test]
#[ignore = "minutes of a whole processor"]
fn attempts_keep_their_promises_beside_two_faults() {
    for budget in FAULTS {
        assert_kept([2, 0], budget);
    }
    assert_kept(
        [1, 1],
        Budget {
            pauses: 1,
            ..NOTHING
        },
    );
    assert_kept(
        [1, 1],
        Budget {
            outages: 1,
            ..NOTHING
        },
    );
}

#[test]
fn a_mutant_of_each_rule_is_found() {
    use Mutant as M;
    let none = NOTHING;
    let pause = Budget { pauses: 1, ..none };
    let start = Budget { starts: 1, ..none };
    let leave = Budget { leaves: 1, ..none };
    let outage = Budget { outages: 1, ..none };
    let loss = Budget { losses: 1, ..none };
    let replay = Budget {
        pauses: 1,
        replays: 1,
        ..none
    };
    let outage_and_loss = Budget {
        outages: 1,
        losses: 1,
        ..none
    };
    let start_and_outage = Budget {
        starts: 1,
        outages: 1,
        ..none
    };
    for (mutant, budget, absence) in [
        (M::SettleUnfenced, replay, "written by the dead"),
        (M::ClaimUnfenced, pause, "left behind"),
        (M::SettleTwice, loss, "two outcomes"),
        (M::TakeOverUnchecked, pause, "taken over alive"),
        (M::ClaimsStay, pause, "left behind"),
        (M::BucketsStay, pause, "left behind"),
        (M::TakeOverUnheard, outage, "taken over alive"),
        (M::GapIgnored, outage, "taken over alive"),
        (M::BelieveFromAnswer, pause, "two owners"),
        (M::BeginWithoutLease, pause, "two owners"),
        (M::GiveUndrained, start, "two owners"),
        (M::GiveUnsettled, start_and_outage, "attempted twice"),
        (M::ClaimDrained, start, "two owners"),
        (M::GrabOwned, start, "two owners"),
        (M::KeepOverFence, pause, "two owners"),
        (M::ShortLease, outage_and_loss, "taken over alive"),
        (M::LeaveBehind, leave, "left behind"),
    ] {
        let (found, _) = check([2, 0], budget, Some(mutant));
        assert!(found.contains(&absence), "{mutant:?}: {found:?}");
    }
}
