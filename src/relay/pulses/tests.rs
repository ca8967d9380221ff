use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::Config;
use crate::model::Level;
use crate::relay::Relay;

const LIMIT: Duration = Duration::from_secs(15);

/// The part that hangs, once the writer has ended a batch that it was at when the clock was moved.
fn hanging(pulses: &Pulses) -> Option<&'static str> {
    loop {
        match pulses.hanging(LIMIT) {
            Some("database writer") => std::thread::yield_now(),
            part => return part,
        }
    }
}

#[test]
fn a_dispatcher_that_does_not_tick_hangs_and_a_writer_without_work_does_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_800_000_000_000)));
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    config.admin.listen = None;
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start_with_clock(config, clock.clone()).expect("it starts");
    let without = relay.pulses();
    assert!(without.dispatcher.is_none());
    let pulse = Pulse::default();
    let pulses = Pulses {
        dispatcher: Some(pulse.clone()),
        ..relay.pulses()
    };
    // It has not ticked at all; then it ticks, and then no more.
    for is_hanging in [false, true] {
        let part = is_hanging.then_some("delivery dispatcher");
        assert_eq!(hanging(&pulses), part);
        clock.advance(LIMIT + Duration::from_secs(1));
    }
    pulse.beat(clock.monotonic());
    assert_eq!(hanging(&pulses), None);
    clock.advance(LIMIT);
    assert_eq!(hanging(&pulses), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(hanging(&pulses), Some("delivery dispatcher"));
    assert_eq!(hanging(&without), None);
    relay.stop().expect("it stops");
    assert_eq!(without.hanging(LIMIT), Some("database writer"));
}
