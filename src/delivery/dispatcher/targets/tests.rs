use super::*;
use crate::config::Config;
use crate::delivery::admission::Unlimited;

/// Takes up as many destinations, from this id on.
fn take_up(targets: &mut Targets, first: i64, count: usize, is_named: bool) {
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
        let now = (Timestamp::from_millis(0), Duration::ZERO);
        targets.take_up(&origin, &backlog, &config, &mut Unlimited, Some(0), now);
    }
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

    fn forget(&mut self, target: DestinationId) {
        self.0.remove(&target);
    }
}

/// Its breaker was opened, or closed, by the node that had it in between.
#[test]
fn a_destination_that_another_node_had_is_taken_up_anew_once_nothing_of_it_is_claimed() {
    let config = Live::from(Config::default().resolve());
    let mut targets = Targets::default();
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
    let (mut targets, ledger) = (Targets::default(), Ledger::new(1));
    let most = i64::try_from(MAX_IDLE).expect("small");
    take_up(&mut targets, 0, MAX_IDLE, true);
    take_up(&mut targets, most, MAX_IDLE - 1, false);
    targets.forget_idle(&ledger, &mut Unlimited);
    assert_eq!(targets.ids().count(), 2 * MAX_IDLE - 1);
    take_up(&mut targets, 2 * most, 1, false);
    targets.forget_idle(&ledger, &mut Unlimited);
    assert_eq!(targets.ids().count(), MAX_IDLE);
    // The count goes on from there.
    take_up(&mut targets, most, MAX_IDLE - 1, false);
    targets.forget_idle(&ledger, &mut Unlimited);
    assert_eq!(targets.ids().count(), 2 * MAX_IDLE - 1);
}
