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
        targets.take_up(&origin, &backlog, &config, &mut Unlimited, now);
    }
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
