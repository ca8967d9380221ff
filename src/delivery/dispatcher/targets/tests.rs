use super::*;
use crate::config::Config;
use crate::delivery::admission::Unlimited;

/// Takes up as many destinations, from this id on.
fn take_up(targets: &mut Targets, first: i64, count: usize, is_named: bool) {
    take_up_at(targets, first, count, is_named, Duration::ZERO);
}

fn take_up_at(targets: &mut Targets, first: i64, count: usize, is_named: bool, now: Duration) {
    let config = Live::from(Config::default().resolve());
    for id in (first..).take(count) {
        let origin = Origin {
            id: DestinationId::of_test(id),
            is_named,
            owner: None,
            is_proven: true,
        };
        let scheme = if is_named { "" } else { "http://" };
        let backlog = DestinationBacklog {
            name: format!("{scheme}d{id}"),
            is_paused: false,
            held_until: None,
            probe: None,
            next_attempt_at: None,
            ready: 0,
        };
        let now = (Timestamp::from_millis(0), now);
        targets.take_up(&origin, &backlog, &config, &mut Unlimited, Some(0), now);
    }
}

/// Nothing is claimed, and `unsettled` is about to be recorded.
fn forget_idle(targets: &mut Targets, unsettled: &[i64], admission: &mut dyn Admission) {
    let unsettled = unsettled.iter().map(|id| DestinationId::of_test(*id));
    targets.forget_idle(&Ledger::new(1), unsettled, admission, Duration::ZERO);
}

/// Destinations whose breaker is open, as they were taken up.
#[derive(Default)]
struct Breakers(HashSet<DestinationId>);

impl Admission for Breakers {
    fn take_up(&mut self, target: &Target, remembered: Remembered, _now: Duration) -> bool {
        if remembered.open_breaker.is_some() {
            self.0.insert(target.id);
        }
        true
    }

    fn has_nothing_to_lose(&self, target: DestinationId, _now: Duration) -> bool {
        !self.0.contains(&target)
    }

    fn forget(&mut self, target: DestinationId) {
        self.0.remove(&target);
    }
}

/// Whether destinations had a backlog as they were taken up.
#[derive(Default)]
struct Backlogs(Vec<bool>);

impl Admission for Backlogs {
    fn take_up(&mut self, _: &Target, remembered: Remembered, _now: Duration) -> bool {
        self.0.push(remembered.has_backlog);
        false
    }
}

#[test]
fn only_what_was_due_before_the_start_or_for_a_second_is_a_backlog() {
    let config = Live::from(Config::default().resolve());
    let at = Timestamp::from_millis;
    let mut targets = Targets::new(at(10_000));
    let mut backlogs = Backlogs::default();
    for (id, (next_attempt_at, now)) in (1..).zip([
        (9_999, 10_000),
        (10_000, 10_000),
        (20_000, 21_000),
        (20_000, 21_001),
        (99_000, 30_000),
    ]) {
        let origin = Origin {
            id: DestinationId::of_test(id),
            is_named: false,
            owner: None,
            is_proven: true,
        };
        let backlog = DestinationBacklog {
            name: format!("http://d{id}"),
            is_paused: false,
            held_until: None,
            probe: None,
            next_attempt_at: Some(at(next_attempt_at)),
            ready: 1,
        };
        let now = (at(now), Duration::ZERO);
        targets.take_up(&origin, &backlog, &config, &mut backlogs, Some(0), now);
    }
    assert_eq!(backlogs.0, [true, false, false, true, false]);
}

/// Its breaker was opened, or closed, by the node that had it in between.
#[test]
fn a_destination_that_another_node_had_is_taken_up_anew_once_nothing_of_it_is_claimed() {
    let config = Live::from(Config::default().resolve());
    let mut targets = Targets::new(Timestamp::from_millis(0));
    let mut breakers = Breakers::default();
    let origin = Origin {
        id: DestinationId::of_test(1),
        is_named: false,
        owner: None,
        is_proven: true,
    };
    let mut is_open = |probe, handovers| {
        let backlog = DestinationBacklog {
            name: "http://d".to_owned(),
            is_paused: false,
            held_until: None,
            probe,
            next_attempt_at: None,
            ready: 0,
        };
        let now = (Timestamp::from_millis(0), Duration::ZERO);
        let state = targets.take_up(&origin, &backlog, &config, &mut breakers, handovers, now);
        assert_eq!(state.is_breaker_open, breakers.0.contains(&origin.id));
        state.is_breaker_open
    };
    let opened = Some((Timestamp::from_millis(1_000), Duration::from_secs(1)));
    assert!(!is_open(None, Some(0)));
    assert!(
        !is_open(opened, None),
        "attempts of this node are under way"
    );
    assert!(is_open(opened, Some(1)), "the other node has opened it");
    assert!(is_open(opened, Some(1)));
    assert!(!is_open(None, Some(2)), "the other node has closed it");
}

#[test]
fn idle_origins_are_forgotten_by_their_own_number_and_named_destinations_stay() {
    let mut targets = Targets::new(Timestamp::from_millis(0));
    let most = i64::try_from(MAX_IDLE).expect("small");
    take_up(&mut targets, 0, MAX_IDLE, true);
    take_up(&mut targets, most, MAX_IDLE - 1, false);
    forget_idle(&mut targets, &[], &mut Unlimited);
    assert_eq!(targets.ids().count(), 2 * MAX_IDLE - 1);
    take_up(&mut targets, 2 * most, 1, false);
    forget_idle(&mut targets, &[], &mut Unlimited);
    assert_eq!(targets.ids().count(), MAX_IDLE);
    // The count goes on from there.
    take_up(&mut targets, most, MAX_IDLE - 1, false);
    forget_idle(&mut targets, &[], &mut Unlimited);
    assert_eq!(targets.ids().count(), 2 * MAX_IDLE - 1);
}

#[test]
fn an_origin_with_something_to_lose_outlives_others_and_so_does_one_that_is_unsettled() {
    let mut targets = Targets::new(Timestamp::from_millis(0));
    let mut breakers = Breakers(HashSet::from([DestinationId::of_test(1)]));
    take_up(&mut targets, 0, MAX_IDLE, false);
    forget_idle(&mut targets, &[7], &mut breakers);
    let mut left: Vec<_> = targets.ids().collect();
    left.sort_unstable();
    assert_eq!(left, [1, 7].map(DestinationId::of_test));
    assert_eq!(breakers.0.len(), 1);
}

#[test]
fn of_too_many_origins_with_something_to_lose_the_least_recently_seen_are_forgotten() {
    const LATER: Duration = Duration::from_secs(1);
    let mut targets = Targets::new(Timestamp::from_millis(0));
    let all = i64::try_from(MAX_REMEMBERED + WALK_EVERY).expect("small");
    let mut breakers = Breakers((0..all).map(DestinationId::of_test).collect());
    take_up(&mut targets, 0, MAX_REMEMBERED, false);
    forget_idle(&mut targets, &[], &mut breakers);
    assert_eq!(targets.ids().count(), MAX_REMEMBERED);
    // The first half is seen again.
    take_up_at(&mut targets, 0, MAX_REMEMBERED / 2, false, LATER);
    let most = i64::try_from(MAX_REMEMBERED).expect("small");
    take_up_at(&mut targets, most, WALK_EVERY, false, LATER);
    forget_idle(&mut targets, &[], &mut breakers);
    assert_eq!(targets.ids().count(), MAX_REMEMBERED);
    assert_eq!(breakers.0.len(), MAX_REMEMBERED);
    let is_left = |id| targets.get(DestinationId::of_test(id)).is_some();
    assert!((0..most / 2).chain(most..all).all(is_left));
}
