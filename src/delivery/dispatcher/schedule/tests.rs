use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::delivery::admission::Reputation::{self, Fresh, Proven, Suspect};
use crate::delivery::dispatcher::plan::Plan;
use crate::delivery::fair_share::{Candidate, FairShare, Shares};
use crate::delivery::target::Target;
use crate::store::OwnerId;
use proptest::prelude::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Destinations 1 and 2 are named, the others belong to three API keys.
fn origin(id: i64) -> Origin {
    Origin {
        id: DestinationId::of_test(id),
        is_named: id <= 2,
        owner: (id > 2).then(|| OwnerId::of_test(id % 3)),
        is_proven: true,
    }
}

fn reputation(id: i64) -> Reputation {
    [Proven, Fresh, Suspect][usize::try_from(id % 3).expect("small")]
}

fn pick_all(schedule: &Schedule, step: usize) -> Vec<i64> {
    let mut picks = Picks::default();
    let mut all = Vec::new();
    loop {
        let found = schedule.pick(&mut picks, step, |_, _| true);
        if found.is_empty() {
            assert!(!schedule.has_more(&picks, |_, _| true));
            return all;
        }
        all.extend(found.iter().map(|origin| origin.id.number()));
    }
}

#[derive(Clone, Debug)]
enum Event {
    Insert(i64, i64),
    LookNow(i64),
    LookAt(i64, i64),
    Busy(i64),
    Free(i64),
    Learn(i64, i64),
    Remove(i64),
    Wait(i64),
    /// A number of workers, each for an attempt of this cost.
    Serve(usize, u64),
}

fn event() -> impl Strategy<Value = Event> {
    let id = || 1i64..20;
    prop_oneof![
        (id(), 0i64..50).prop_map(|(id, at)| Event::Insert(id, at)),
        id().prop_map(Event::LookNow),
        (id(), 0i64..50).prop_map(|(id, at)| Event::LookAt(id, at)),
        id().prop_map(Event::Busy),
        id().prop_map(Event::Free),
        (id(), 0i64..3).prop_map(|(id, of)| Event::Learn(id, of)),
        id().prop_map(Event::Remove),
        (0i64..20).prop_map(Event::Wait),
        (1usize..6, 1u64..20).prop_map(|(count, cost)| Event::Serve(count, cost)),
    ]
}

proptest! {
    /// The model keeps a place for each destination in a plain map.
    #[test]
    fn a_destination_is_where_the_last_event_put_it(
        events in prop::collection::vec(event(), 0..120),
        step in 1usize..7,
    ) {
        let mut schedule = Schedule::default();
        let mut model: BTreeMap<i64, Place> = BTreeMap::new();
        let mut now = 0;
        for event in events {
            match event {
                Event::Insert(id, time) => {
                    schedule.insert(origin(id), reputation(id), at(time));
                    let place = model.entry(id).or_insert(Place::At(at(time)));
                    if let Place::At(earlier) = place {
                        *earlier = at(time).min(*earlier);
                    }
                }
                Event::LookNow(id) => {
                    let is_known = schedule.look_now(DestinationId::of_test(id));
                    prop_assert_eq!(is_known, model.contains_key(&id));
                    if let Some(place @ Place::At(_)) = model.get_mut(&id) {
                        *place = Place::Ready;
                    }
                }
                Event::LookAt(id, time) => {
                    schedule.look_at(DestinationId::of_test(id), at(time));
                    model.entry(id).and_modify(|place| *place = Place::At(at(time)));
                }
                Event::Busy(id) => {
                    schedule.set_busy(DestinationId::of_test(id));
                    model.entry(id).and_modify(|place| *place = Place::Busy);
                }
                Event::Free(id) => {
                    schedule.set_free(DestinationId::of_test(id));
                    if let Some(place @ Place::Busy) = model.get_mut(&id) {
                        *place = Place::Ready;
                    }
                }
                Event::Learn(id, of) => {
                    schedule.set_reputation(DestinationId::of_test(id), reputation(of));
                }
                Event::Remove(id) => {
                    schedule.remove(DestinationId::of_test(id));
                    model.remove(&id);
                }
                Event::Wait(by) => {
                    now += by;
                    schedule.advance(at(now));
                    for place in model.values_mut() {
                        if matches!(place, Place::At(time) if *time <= at(now)) {
                            *place = Place::Ready;
                        }
                    }
                }
                Event::Serve(count, cost) => {
                    serve(&mut schedule, count, |_| cost);
                }
            }
            let mut ready = pick_all(&schedule, step);
            ready.sort_unstable();
            let expected = model.iter().filter(|(_, place)| **place == Place::Ready);
            let expected: Vec<i64> = expected.map(|(id, _)| *id).collect();
            prop_assert_eq!(ready, expected, "each ready destination is picked once");
            let times = model.values().filter_map(|place| match place {
                Place::At(time) => Some(*time),
                _ => None,
            });
            prop_assert_eq!(schedule.next_look(), times.min());
            let lanes = model.keys().map(|id| {
                schedule.entries[&DestinationId::of_test(*id)].lane()
            });
            let lanes: BTreeSet<Lane> = lanes.collect();
            prop_assert_eq!(schedule.ready.lanes(), lanes, "no other lane is kept");
        }
    }

    #[test]
    fn members_of_a_lane_are_served_in_turn(count in 1i64..40, at_once in 1usize..7) {
        let mut schedule = ready((0..count).map(|id| 3 + 6 * id));
        let mut turns: HashMap<i64, usize> = (0..count).map(|id| (3 + 6 * id, 0)).collect();
        for _ in 0..100 {
            for id in serve(&mut schedule, at_once, |_| 1) {
                *turns.entry(id).or_default() += 1;
            }
            let (most, least) = (turns.values().max(), turns.values().min());
            let spread = most.zip(least).map_or(0, |(most, least)| most - least);
            prop_assert!(spread <= 1);
        }
    }
}

/// A schedule with these destinations ready.
fn ready(ids: impl IntoIterator<Item = i64>) -> Schedule {
    let mut schedule = Schedule::default();
    for id in ids {
        let lane_of = if id > 2 { 3 } else { id };
        let origin = Origin {
            id: DestinationId::of_test(id),
            ..origin(lane_of)
        };
        schedule.insert(origin, Proven, at(0));
    }
    schedule.advance(at(0));
    schedule
}

/// Shares out workers as a plan does, to destinations that have any number of deliveries due.
/// Returns who gets one.
fn serve(schedule: &mut Schedule, workers: usize, cost: impl Fn(i64) -> u64) -> Vec<i64> {
    let config = crate::Config::default().resolve();
    let mut picks = Picks::default();
    let candidate = |origin: Origin| {
        let (lane, of_lane, turn) = schedule.turns(origin.id).expect("it is ready");
        let target = Target::new(origin.id, "http://x", &config, true);
        let candidate = Candidate {
            target: Arc::new(target),
            lane,
            turn,
            cost: cost(origin.id.number()),
            reputation: Reputation::Proven,
            in_flight: 0,
            prefetched: 0,
            ready: 1,
            share: 0,
            refused: None,
        };
        (of_lane, candidate)
    };
    let mut shares = FairShare::new(workers);
    let picked = schedule.pick(&mut picks, workers, |_, _| true);
    shares.offer(picked.into_iter().map(candidate));
    shares.assign(|_| Ok(()));
    let Shares { candidates, served } = shares.into_shares();
    let plan = Plan {
        candidates,
        served,
        ..Plan::default()
    };
    plan.reschedule(schedule, at(0));
    let served = plan.candidates.iter().filter(|one| one.share > 0);
    served.map(|one| one.target.id.number()).collect()
}

/// Named destinations are lanes of their own; the others are members of one lane.
#[test]
fn a_dear_destination_gets_one_turn_in_as_many_rounds_as_an_attempt_costs() {
    for ids in [[1, 2], [3, 9]] {
        let mut schedule = ready(ids);
        let cost = |id| if id == ids[0] { 16 } else { 1 };
        let served = (0..170).map(|_| serve(&mut schedule, 1, cost)[0]);
        let dear = served.filter(|id| *id == ids[0]).count();
        assert_eq!(dear, 10, "of {ids:?}");
        // Nobody else wants a worker.
        schedule.set_busy(DestinationId::of_test(ids[1]));
        assert_eq!(serve(&mut schedule, 1, cost), [ids[0]]);
    }
}

#[test]
fn a_dear_destination_costs_the_others_of_its_api_key_no_turn() {
    let mut schedule = ready([1, 3, 9]);
    let cost = |id| if id == 3 { 16 } else { 1 };
    let served: Vec<i64> = (0..34).map(|_| serve(&mut schedule, 1, cost)[0]).collect();
    assert_eq!(served.iter().filter(|id| **id == 1).count(), 17);
    assert_eq!(served.iter().filter(|id| **id == 9).count(), 16);
}

#[test]
fn a_named_destination_keeps_its_turn_with_another_reputation() {
    let mut schedule = ready([1, 2]);
    assert_eq!(serve(&mut schedule, 1, |_| 16), [1]);
    schedule.set_reputation(DestinationId::of_test(1), Suspect);
    let served = (0..17).map(|_| serve(&mut schedule, 1, |_| 1)[0]);
    assert_eq!(served.filter(|id| *id == 1).count(), 1);
}

#[test]
fn a_destination_that_comes_late_or_back_has_saved_up_no_turns() {
    let first = DestinationId::of_test(1);
    for is_known in [false, true] {
        let mut schedule = ready(if is_known { vec![1, 2] } else { vec![2] });
        schedule.look_at(first, at(50));
        for _ in 0..100 {
            serve(&mut schedule, 1, |_| 1);
        }
        schedule.insert(origin(1), Proven, at(50));
        schedule.advance(at(50));
        let served: Vec<i64> = (0..10).map(|_| serve(&mut schedule, 1, |_| 1)[0]).collect();
        let its = served.iter().filter(|id| **id == 1).count();
        assert_eq!(its, 5, "{served:?}");
    }
}

#[test]
fn destinations_that_are_due_at_once_are_made_ready_in_batches() {
    let mut schedule = Schedule::default();
    let count = i64::try_from(MAX_MOVES).expect("small") + 1;
    for id in 0..count {
        schedule.insert(
            Origin {
                id: DestinationId::of_test(id),
                ..origin(3)
            },
            Proven,
            at(5),
        );
    }
    schedule.advance(at(5));
    assert_eq!(schedule.next_look(), Some(at(5)), "the last one");
    schedule.advance(at(5));
    assert_eq!(schedule.next_look(), None);
}

#[test]
fn only_open_kinds_are_picked() {
    let mut schedule = Schedule::default();
    for id in 1..20 {
        schedule.insert(origin(id), reputation(id / 3), at(0));
    }
    schedule.advance(at(0));
    let mut picks = Picks::default();
    let found = schedule.pick(&mut picks, 100, |_, reputation| reputation == Suspect);
    let found: Vec<i64> = found.iter().map(|origin| origin.id.number()).collect();
    let suspects = (1..20).filter(|id| reputation(id / 3) == Suspect);
    assert_eq!(found, suspects.collect::<Vec<_>>());
}
