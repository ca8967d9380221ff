use std::collections::BTreeMap;

use super::*;
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
        is_proven: id % 2 == 0,
    }
}

fn pick_all(schedule: &Schedule, step: usize) -> Vec<i64> {
    let mut picks = schedule.picks();
    let mut all = Vec::new();
    loop {
        let found = schedule.pick(&mut picks, step, |_| true);
        if found.is_empty() {
            assert!(!schedule.has_more(&picks, |_| true));
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
    Prove(i64, bool),
    Remove(i64),
    Wait(i64),
    Serve(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let id = || 1i64..20;
    prop_oneof![
        (id(), 0i64..50).prop_map(|(id, at)| Event::Insert(id, at)),
        id().prop_map(Event::LookNow),
        (id(), 0i64..50).prop_map(|(id, at)| Event::LookAt(id, at)),
        id().prop_map(Event::Busy),
        id().prop_map(Event::Free),
        (id(), any::<bool>()).prop_map(|(id, is)| Event::Prove(id, is)),
        id().prop_map(Event::Remove),
        (0i64..20).prop_map(Event::Wait),
        (1usize..6).prop_map(Event::Serve),
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
                    schedule.insert(origin(id), at(time));
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
                Event::Prove(id, is) => schedule.set_proven(DestinationId::of_test(id), is),
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
                Event::Serve(count) => {
                    let mut picks = schedule.picks();
                    let mut assigned = HashMap::new();
                    for origin in schedule.pick(&mut picks, count, |_| true) {
                        *assigned.entry(origin.lane()).or_default() += 1;
                    }
                    schedule.advance_cursors(&picks, &assigned);
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
        }
    }

    #[test]
    fn members_of_a_lane_are_served_in_turn(count in 1i64..40, at_once in 1usize..7) {
        let mut schedule = Schedule::default();
        for id in 0..count {
            let origin = Origin { id: DestinationId::of_test(3 + 6 * id), ..origin(3) };
            schedule.insert(origin, at(0));
        }
        schedule.advance(at(0));
        let mut turns: HashMap<i64, usize> = HashMap::new();
        for _ in 0..100 {
            let mut picks = schedule.picks();
            let found = schedule.pick(&mut picks, at_once, |_| true);
            for origin in &found {
                *turns.entry(origin.id.number()).or_default() += 1;
            }
            let assigned = HashMap::from([(found[0].lane(), found.len())]);
            schedule.advance_cursors(&picks, &assigned);
            let most = turns.values().max().copied().unwrap_or(0);
            let least = if turns.len() < usize::try_from(count).expect("small") {
                0
            } else {
                turns.values().min().copied().unwrap_or(0)
            };
            prop_assert!(most - least <= 1);
        }
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
            at(5),
        );
    }
    schedule.advance(at(5));
    assert_eq!(schedule.next_look(), Some(at(5)), "the last one");
    schedule.advance(at(5));
    assert_eq!(schedule.next_look(), None);
}

#[test]
fn a_closed_lane_is_skipped() {
    let mut schedule = Schedule::default();
    for id in 1..20 {
        schedule.insert(origin(id), at(0));
    }
    schedule.advance(at(0));
    let mut picks = schedule.picks();
    let found = schedule.pick(&mut picks, 100, |origin| origin.is_proven);
    assert!(found.iter().all(|origin| origin.is_proven));
    assert_eq!(found.len(), 9);
}
