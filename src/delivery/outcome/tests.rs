use super::*;
use crate::model::DeliveryState;
use proptest::prelude::*;

fn retry() -> impl Strategy<Value = Retry> {
    (
        prop::collection::vec(0u64..200_000, 0..10),
        0.0..1.0f64,
        any::<bool>(),
    )
        .prop_map(|(waits, jitter, honours_retry_after)| Retry {
            schedule: waits.into_iter().map(Duration::from_secs).collect(),
            jitter,
            honours_retry_after,
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (
        prop_oneof![
            Just(Class::Delivered),
            Just(Class::Transient),
            Just(Class::Permanent)
        ],
        prop::option::of(0u64..u64::MAX / 2),
    )
        .prop_map(|(class, retry_after)| Outcome {
            class,
            retry_after: retry_after.map(Duration::from_secs),
            ..Outcome::delivered()
        })
}

proptest! {
    #[test]
    fn no_attempt_is_early_and_none_is_lost(
        attempt in 1u32..15,
        outcome in outcome(),
        retry in retry(),
        now in 0i64..4_000_000_000_000,
        random in 0.0..1.0f64,
    ) {
        let now = Timestamp::from_millis(now);
        let decision = decide(attempt, &outcome, &retry, now, random);
        let state = decision.step.apply(DeliveryState::Processing).expect("a step from processing");
        match outcome.class {
            Class::Delivered => prop_assert_eq!(state, DeliveryState::Delivered),
            Class::Permanent => prop_assert_eq!(state, DeliveryState::DeadLettered),
            Class::Transient => prop_assert_eq!(
                state == DeliveryState::Retrying,
                attempt < retry.max_attempts(),
                "the whole schedule, and no more"
            ),
        }
        prop_assert_eq!(decision.next_attempt_at.is_some(), state == DeliveryState::Retrying);
        if let Some(at) = decision.next_attempt_at {
            let wait = retry.schedule[attempt as usize - 1];
            prop_assert!(at >= now.plus(wait), "no attempt is early");
            prop_assert!(at >= decision.hold_until.unwrap_or(at));
            let longest = wait.mul_f64(1.0 + retry.jitter).max(Retry::MAX_RETRY_AFTER);
            prop_assert!(at <= now.plus(longest + Duration::from_millis(1)));
        }
        if let Some(until) = decision.hold_until {
            prop_assert!(retry.honours_retry_after && until <= now.plus(Retry::MAX_RETRY_AFTER));
        }
    }
}

#[test]
fn the_last_attempt_is_never_one_of_fewer() {
    let retry = Retry {
        schedule: vec![Duration::ZERO],
        jitter: 0.0,
        honours_retry_after: false,
    };
    let outcome = answered(Class::Transient, 503);
    let decision = decide(5, &outcome, &retry, Timestamp::from_millis(0), 0.0);
    assert_eq!(decision.next, "given up: attempt 5 of 5 was the last");
}

/// The outcome of an answer.
fn answered(class: Class, status_code: u16) -> Outcome {
    Outcome {
        status_code: Some(status_code),
        ..Outcome::failed(class, FailureKind::Status, "answered")
    }
}

#[test]
fn a_destination_would_take_another_after_a_delivery_or_the_refusal_of_one_event() {
    let asks_to_wait = Outcome {
        retry_after: Some(Duration::from_secs(1)),
        ..answered(Class::Permanent, 422)
    };
    let damaged = Outcome::failed(Class::Permanent, FailureKind::PayloadDamaged, "damaged");
    for (outcome, expected) in [
        (Outcome::delivered(), true),
        (answered(Class::Permanent, 422), true),
        (answered(Class::Permanent, 410), false),
        (asks_to_wait, false),
        (damaged, false),
        (answered(Class::Transient, 503), false),
        (answered(Class::Transient, 429), false),
    ] {
        assert_eq!(outcome.invites_another(), expected, "{outcome:?}");
    }
}
