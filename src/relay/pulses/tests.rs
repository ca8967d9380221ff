use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::Config;
use crate::model::Level;
use crate::relay::Relay;

const LIMIT: Duration = Duration::from_secs(15);

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
        let hanging = is_hanging.then_some("delivery dispatcher");
        assert_eq!(pulses.hanging(LIMIT), hanging);
        clock.advance(LIMIT + Duration::from_secs(1));
    }
    pulse.beat(clock.monotonic());
    assert_eq!(pulses.hanging(LIMIT), None);
    clock.advance(LIMIT);
    assert_eq!(pulses.hanging(LIMIT), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(pulses.hanging(LIMIT), Some("delivery dispatcher"));
    assert_eq!(without.hanging(LIMIT), None);
    relay.stop().expect("it stops");
    assert_eq!(without.hanging(LIMIT), Some("database writer"));
}
