//! Wall clocks that jump, while a relay runs and between two runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, Timestamp};

use crate::needs_a_file;
use crate::support::{
    Answer, Receiver, TestRelay, config, event_id, event_with_status, every, orders, relay_id,
    relay_to, relay_with_status,
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[test]
fn setting_the_clock_while_running_neither_hastens_nor_delays_deliveries() {
    for jump in [YEAR * 10, Duration::from_secs(7200)] {
        for is_ahead in [true, false] {
            let failures = Arc::new(AtomicUsize::new(1));
            let receiver = {
                let failures = Arc::clone(&failures);
                Receiver::start(move |_| {
                    let fails = failures
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok();
                    Answer::status(if fails { 500 } else { 200 })
                })
            };
            let clock = Arc::new(FakeClock::at(START));
            let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
            let mut config = config(directory.path(), &receiver.url("/"));
            orders(&mut config).retry = every(Duration::from_secs(600), 3);
            let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
            let id = event_id(&relay.client.hook("1", b"{}"));
            event_with_status(&relay.client, &id, "retrying");

            clock.set_wall(if is_ahead {
                START.plus(jump)
            } else {
                START.minus(jump)
            });
            // Signed with the new time, but not attempted earlier than scheduled.
            clock.advance(Duration::from_secs(560));
            let event = relay.client.get(&format!("/events/{id}")).json();
            assert_eq!(event["status"], "retrying", "{jump:?} {is_ahead}");
            // The idempotency key is still known, too.
            assert_eq!(relay.client.hook("1", b"{}").json()["status"], "duplicate");
            // It is delivered within 5 % of its wait.
            clock.advance(Duration::from_secs(75));
            event_with_status(&relay.client, &id, "delivered");
            let wall: i64 = clock.wall().as_seconds();
            receiver.next();
            let signed_at: i64 = receiver
                .next()
                .header("webhook-timestamp")
                .parse()
                .expect("a number");
            assert_eq!(signed_at, wall, "the receiver's time");
        }
    }
}

#[test]
fn deliveries_recorded_with_the_clock_years_ahead_are_not_delayed_for_years() {
    needs_a_file!("the lock file is removed");
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_well = Arc::clone(&is_well);
        Receiver::start(move |_| {
            if is_well.load(Ordering::SeqCst) {
                Answer::status(200)
            } else {
                Answer::status(503).header("Retry-After", "3600")
            }
        })
    };
    for keeps_the_lock_file in [true, false] {
        is_well.store(false, Ordering::SeqCst);
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let start = |level: Option<relay::model::Level>, clock: &Arc<FakeClock>| {
            let mut config = config(directory.path(), &receiver.url("/"));
            config.delivery.level = level;
            TestRelay::start_in(Arc::clone(&directory), config, Some(Arc::clone(clock)))
        };
        let ahead = Arc::new(FakeClock::at(START.plus(YEAR * 10)));
        // One delivery is held for an hour by Retry-After, and one was never attempted.
        let mut relay = start(None, &ahead);
        let held = event_id(&relay.client.hook("1", b"{}"));
        event_with_status(&relay.client, &held, "retrying");
        relay.stop();
        drop(relay);
        let mut relay = start(Some(relay::model::Level::Off), &ahead);
        let to = relay_to(&receiver.url("/"), "{}");
        let queued = relay_id(&relay.client.create(&[], &to));
        relay.stop();
        drop(relay);

        is_well.store(true, Ordering::SeqCst);
        // Without the lock file relay doesn't know the time up to which it had run.
        if !keeps_the_lock_file {
            std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
        }
        let right = Arc::new(FakeClock::at(START));
        let relay = start(None, &right);
        relay_with_status(&relay.client, &queued, "delivered");
        let event = relay.client.get(&format!("/events/{held}")).json();
        assert_eq!(event["status"], "retrying");
        // Without the lock file the wait is cut to the longest of any delivery: a day and its
        // jitter, by the default schedule.
        right.advance(Duration::from_secs(if keeps_the_lock_file {
            3800
        } else {
            29 * 3600
        }));
        event_with_status(&relay.client, &held, "delivered");
    }
}
