use super::*;
use crate::store::{KeepReason, Obstacles};

#[test]
fn a_destination_held_every_second_has_one_log_line_in_five_minutes() {
    let mut shown = Shown {
        is_known: true,
        kept: DestinationStatus::ACTIVE,
        state: "",
        holds: 0,
        holds_logged_at: None,
    };
    let logged: Vec<_> = (0..1_000)
        .filter_map(|second| shown.count_hold(Timestamp::from_millis(second * 1_000)))
        .collect();
    assert_eq!(logged, [1, 300, 300, 300]);
}

#[test]
fn a_state_is_named_by_the_first_reason_as_commands_and_the_api_name_it() {
    let metrics = Arc::new(Metrics::new(crate::model::Level::Durable));
    let mut gauges = StateGauges::new(metrics);
    let now = Timestamp::from_millis(1_000);
    let later = Some(Timestamp::from_millis(2_000));
    for is_known in [true, false] {
        for (is_paused, held_until, is_breaker_open) in [
            (true, later, true),
            (true, None, false),
            (false, later, true),
            (false, None, true),
            (false, None, false),
        ] {
            let kept = DestinationStatus {
                is_paused,
                held_until,
                is_breaker_open,
            };
            gauges.see("a", is_known, kept, now);
            let obstacles = Obstacles {
                is_paused,
                held_until,
                probe_at: is_breaker_open.then_some(now),
            };
            let expected = match obstacles.reason(is_known, now) {
                Some(KeepReason::UnknownDestination) => "unknown",
                Some(KeepReason::BreakerOpen(_)) => "open",
                Some(reason) => reason.name(),
                None => "active",
            };
            assert_eq!(gauges.by_label["a"].state, expected, "{kept:?}");
        }
    }
}
