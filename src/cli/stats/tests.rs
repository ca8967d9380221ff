use super::*;
use crate::COMPILED_LEVEL;
use crate::config::Config;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The state of a destination with these deliveries, at a level.
fn state(level: Level, waiting: i64, oldest_due: Option<Timestamp>) -> String {
    state_of(level, waiting, oldest_due, None)
}

fn state_of(
    level: Level,
    waiting: i64,
    oldest_due: Option<Timestamp>,
    probe_at: Option<Timestamp>,
) -> String {
    let mut config = Config::default();
    config.delivery.level = Some(level);
    let row = DestinationStats {
        destination: "https://example.com".to_owned(),
        waiting,
        processing: 0,
        dead_lettered: 0,
        discarded: 0,
        oldest_due,
        paused: None,
        held_until: None,
        probe_at,
    };
    state_text(&row, &config.resolve(), NOW)
}

#[test]
fn a_state_is_true_of_what_waits() {
    assert_eq!(
        state(Level::Off, 2, Some(NOW)),
        "nothing is sent: delivery.level is off, or not compiled in"
    );
    if COMPILED_LEVEL > Level::Off {
        assert_eq!(
            state(COMPILED_LEVEL, 2, Some(NOW)),
            format!("next due at {NOW}")
        );
        // Blocked deliveries wait, and are due at no time.
        assert_eq!(
            state(COMPILED_LEVEL, 2, None),
            "all that waits is behind another in its order: relay list --status blocked"
        );
    }
    assert_eq!(state(COMPILED_LEVEL, 0, None), "nothing waits");
}

#[test]
fn a_probe_is_never_announced_for_the_past() {
    let second = std::time::Duration::from_secs(1);
    assert_eq!(
        state_of(COMPILED_LEVEL, 0, None, Some(NOW.plus(second))),
        format!("circuit breaker open, next probe at {}", NOW.plus(second))
    );
    assert_eq!(
        state_of(COMPILED_LEVEL, 0, None, Some(NOW)),
        "circuit breaker open: the next delivery is a probe"
    );
}
