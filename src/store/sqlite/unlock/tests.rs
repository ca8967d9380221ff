use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::FakeClock;
use crate::store::sqlite::tests::open_at;

#[test]
fn an_unlock_makes_the_next_start_follow_the_systems_clock_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let wall = SystemClock::new().wall();
    let hour = Duration::from_secs(3600);
    // A server ran while the system's clock was an hour ahead.
    open_at(&directory, &Arc::new(FakeClock::at(wall.plus(hour)))).stop();
    let clock = Arc::new(FakeClock::at(wall));
    let store = open_at(&directory, &clock);
    assert_eq!(clock.now(), wall.plus(hour));
    let unlock = Unlock::of(&directory.path().join("relay.db"))
        .expect("no error")
        .expect("a lock file");
    for refused in [unlock.remembered(), unlock.reset()] {
        assert!(
            matches!(refused, Err(OpenError::InUse { .. })),
            "{refused:?}"
        );
    }
    store.stop();
    let remembered = unlock.reset().expect("nobody has it");
    assert_eq!(remembered.accepted_at, None);
    assert!(
        (3_500_000..=3_600_000).contains(&remembered.ahead_millis),
        "{remembered:?}"
    );
    assert_eq!(unlock.remembered().expect("nobody has it").ahead_millis, 0);
    let clock = Arc::new(FakeClock::at(wall));
    open_at(&directory, &clock).stop();
    assert_eq!(clock.now(), wall);
}
