use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::delivery::admission::Reputation;
use crate::delivery::dispatcher::ledger::ClaimCounts;
use crate::delivery::dispatcher::plan::Found;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A fixed number of attempts to each destination at once, and of prefetched deliveries.
struct Fixed {
    max_in_flight: usize,
    max_prefetched: usize,
    /// Times that a plan has asked.
    asked: Cell<usize>,
}

impl Fixed {
    fn new(max_in_flight: usize, max_prefetched: usize) -> Self {
        Self {
            max_in_flight,
            max_prefetched,
            asked: Cell::new(0),
        }
    }
}

impl Admission for Fixed {
    fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        self.asked.set(self.asked.get() + 1);
        if request.in_flight + request.planned < self.max_in_flight {
            Ok(())
        } else {
            Err(Refusal::UntilAnAttemptEnds)
        }
    }

    fn max_prefetched(&self, _: &Target) -> usize {
        self.max_prefetched
    }
}

fn inputs(free_workers: usize) -> Inputs {
    Inputs {
        is_held: false,
        workers: 64,
        free_workers,
        room: 100,
        occupancy: Occupancy::default(),
        max_adhoc: usize::MAX,
        looked_at: 0,
        has_prefetched: false,
        now: NOW,
        monotonic: Duration::ZERO,
    }
}

fn origin(id: i64) -> Origin {
    Origin {
        id: DestinationId::of_test(id),
        is_named: false,
        owner: None,
        is_proven: true,
    }
}

fn found(id: i64, ready: usize) -> Found {
    let name = format!("http://{id}.example");
    let target = Target::new(
        DestinationId::of_test(id),
        &name,
        &Config::default().resolve(),
        true,
    );
    Found {
        target: Arc::new(target),
        reputation: Reputation::Proven,
        counts: ClaimCounts::default(),
        next_attempt_at: Timestamp::from_millis(0),
        ready,
        is_paused: false,
        held_until: None,
    }
}

/// A schedule with these destinations ready.
fn schedule(count: i64) -> Schedule {
    let mut schedule = Schedule::default();
    for id in 1..=count {
        schedule.insert(origin(id), Reputation::Proven, NOW);
    }
    schedule.advance(NOW);
    schedule
}

fn plan(
    schedule: &Schedule,
    inputs: Inputs,
    admission: &dyn Admission,
    find: impl Fn(i64) -> Option<Found>,
) -> Plan {
    let mut planner = Planner::new(inputs);
    while let Some(origins) = planner.next_looks(schedule, admission) {
        let looks = origins.into_iter().map(|origin| Look {
            found: find(origin.id.number()),
            origin,
        });
        planner.take(looks.collect(), schedule, admission);
    }
    planner.finish(schedule, admission)
}

fn workers(plan: &Plan) -> usize {
    plan.claims.iter().map(|claim| claim.begin).sum()
}

#[test]
fn among_many_destinations_a_plan_reads_what_it_can_share_out() {
    let schedule = schedule(200);
    let admission = Fixed::new(1, 8);
    let first = plan(&schedule, inputs(40), &admission, |id| Some(found(id, 5)));
    assert_eq!((first.looks, workers(&first)), (40, 40));
    assert!(first.leaves_unseen, "160 destinations got no look");
    let counted = |(looked_at, has_prefetched)| {
        let inputs = Inputs {
            looked_at,
            has_prefetched,
            ..inputs(40)
        };
        Planner::new(inputs).counted()
    };
    let least = 1 + PREFETCH_DEPTH;
    assert_eq!(
        [1, 5, 40].map(|looks| counted((looks, false))),
        [80, 16, least]
    );
    assert_eq!(
        [1, 5, 40].map(|looks| counted((looks, true))),
        [100, 40, least]
    );
}

proptest! {
    #[test]
    fn a_plan_changes_nothing_and_keeps_the_limits(
        ready in prop::collection::vec(0usize..20, 0..60),
        free_workers in 0usize..20,
        max_in_flight in 0usize..5,
        max_prefetched in 0usize..10,
        max_adhoc in 0usize..20,
    ) {
        let count = i64::try_from(ready.len()).expect("few");
        let schedule = schedule(count);
        let inputs = Inputs { max_adhoc, ..inputs(free_workers) };
        let admission = Fixed::new(max_in_flight, max_prefetched);
        let find = |id: i64| {
            let ready = ready[usize::try_from(id - 1).expect("positive")];
            (ready > 0).then(|| found(id, ready))
        };
        let first = plan(&schedule, inputs, &admission, find);
        let second = plan(&schedule, inputs, &admission, find);
        prop_assert_eq!(&first.claims, &second.claims);
        prop_assert_eq!(first.looks, second.looks);
        prop_assert!(workers(&first) <= free_workers.min(max_adhoc));
        for claim in &first.claims {
            prop_assert!(claim.begin <= max_in_flight);
            prop_assert!(claim.prefetch <= max_prefetched.min(PREFETCH_DEPTH * claim.begin));
            let ready = find(claim.destination.number()).map_or(0, |found| found.ready);
            prop_assert!(claim.begin + claim.prefetch <= ready);
        }
    }
}

#[test]
fn a_plan_looks_at_no_more_destinations_than_it_needs() {
    let schedule = schedule(5_000);
    let plan = plan(&schedule, inputs(4), &Fixed::new(1, 0), |id| {
        Some(found(id, 1))
    });
    assert_eq!((workers(&plan), plan.looks), (4, MIN_LOOKS));
    assert!(plan.leaves_unseen);
}

#[test]
fn a_plan_looks_at_1024_destinations_at_most() {
    let schedule = schedule(5_000);
    let plan = plan(&schedule, inputs(4), &Fixed::new(0, 0), |id| {
        Some(found(id, 1))
    });
    assert_eq!((workers(&plan), plan.looks), (0, MAX_LOOKS));
}

#[test]
fn a_paused_or_held_destination_is_not_claimed_and_loses_its_prefetched_deliveries() {
    let mut schedule = schedule(3);
    let held_until = NOW.plus(Duration::from_millis(300));
    let find = |id: i64| {
        let mut found = found(id, 5);
        found.counts.prefetched = usize::from(id == 2);
        found.is_paused = id == 1;
        found.held_until = (id == 2).then_some(held_until);
        Some(found)
    };
    let admission = Fixed::new(1, 0);
    let plan = plan(&schedule, inputs(3), &admission, find);
    let claimed: Vec<_> = plan.claims.iter().map(|claim| claim.destination).collect();
    assert_eq!(claimed, [DestinationId::of_test(3)]);
    assert_eq!(plan.recalls(), [DestinationId::of_test(2)]);
    let resting = plan.postponed.iter().filter(|one| one.resting.is_some());
    assert_eq!(resting.count(), 2);
    assert_eq!(plan.asked().count(), 1);
    plan.reschedule(&mut schedule, NOW);
    assert_eq!(schedule.next_look(), Some(held_until));
}

#[test]
fn while_others_want_a_worker_only_attempts_that_begin_have_followers() {
    let schedule = schedule(2);
    let admission = Fixed::new(2, 5);
    let of_pool = |workers, free_workers, in_flight| {
        let inputs = Inputs {
            workers,
            ..inputs(free_workers)
        };
        let plan = plan(&schedule, inputs, &admission, |id| {
            let mut found = found(id, 9);
            found.counts.in_flight = in_flight;
            Some(found)
        });
        plan.claims
            .iter()
            .map(|claim| (claim.begin, claim.prefetch))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_pool(64, 1, 0), [(1, 5)]);
    assert_eq!(
        of_pool(16, 1, 0),
        [(1, 2)],
        "a worker comes free less often"
    );
    assert_eq!(of_pool(7, 1, 0), [(1, 0)]);
    let kept = of_pool(64, 0, 1);
    assert_eq!(kept, [], "they would keep their workers for ever");
    assert_eq!(of_pool(64, 4, 1), [(1, 5), (1, 5)]);
}

#[test]
fn within_a_part_of_the_pool_only_attempts_that_begin_have_followers() {
    let inputs = Inputs {
        max_adhoc: 1,
        ..inputs(4)
    };
    let plan = plan(&schedule(3), inputs, &Fixed::new(2, 5), |id| {
        let mut found = found(id, 9);
        found.counts.in_flight = 1;
        Some(found)
    });
    let claimed = plan.claims.iter().map(|one| (one.begin, one.prefetch));
    let claimed: Vec<_> = claimed.collect();
    assert_eq!(claimed, [(1, 5)], "the others would keep theirs for ever");
}

#[test]
fn while_nobody_else_wants_a_worker_only_attempts_that_begin_are_turns() {
    let schedule = schedule(1);
    let plan = plan(&schedule, inputs(3), &Fixed::new(2, 5), |id| {
        Some(found(id, 9))
    });
    let claimed: Vec<_> = plan
        .claims
        .iter()
        .map(|one| (one.begin, one.prefetch))
        .collect();
    assert_eq!(claimed, [(2, 5)]);
    assert_eq!(plan.candidates[0].turn.round, 2);
}

/// A destination's cost, by its number.
struct Costs(Vec<u64>);

impl Costs {
    fn of(&self, id: DestinationId) -> u64 {
        self.0[usize::try_from(id.number() - 1).expect("positive")]
    }
}

impl Admission for Costs {
    fn cost(&self, target: &Target) -> u64 {
        self.of(target.id)
    }

    fn max_prefetched(&self, _: &Target) -> usize {
        usize::MAX
    }
}

proptest! {
    #[test]
    fn destinations_get_equal_times_whatever_is_prefetched(
        costs in prop::collection::vec(1u64..20, 2..12),
        free_workers in prop::collection::vec(0usize..4, 1..200),
        is_named in any::<bool>(),
    ) {
        let mut schedule = Schedule::default();
        for id in (1..).take(costs.len()) {
            let origin = Origin { is_named, ..origin(id) };
            schedule.insert(origin, Reputation::Proven, NOW);
        }
        schedule.advance(NOW);
        let mut taken = vec![0; costs.len()];
        let costs = Costs(costs);
        for free in free_workers {
            // There are always more destinations than free workers.
            let free = free.min(costs.0.len() - 1);
            let plan = plan(&schedule, inputs(free), &costs, |id| Some(found(id, 99)));
            for claim in &plan.claims {
                let cost = costs.of(claim.destination);
                let [begin, prefetch] =
                    [claim.begin, claim.prefetch].map(|count| u64::try_from(count).expect("few"));
                prop_assert_eq!(prefetch, begin * (8 / cost));
                let at = usize::try_from(claim.destination.number() - 1).expect("positive");
                taken[at] += cost * (begin + prefetch);
            }
            plan.reschedule(&mut schedule, NOW);
            let (most, least) = (taken.iter().max(), taken.iter().min());
            let gap = most.zip(least).map_or(0, |(most, least)| most - least);
            prop_assert!(gap <= 3 * LONGEST, "{taken:?}");
        }
    }
}

/// The rounds that a worker may stay with a destination: those of its longest attempt, or of a
/// quick one and all that follow it. A destination may be ahead by as many for each free worker.
const LONGEST: u64 = 19;
