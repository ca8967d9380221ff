use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_attempt_leaves_delivered_and_nothing_delivers_without_one(
        transitions in prop::collection::vec(prop::sample::select(&Transition::ALL), 0..60)
    ) {
        let mut state = DeliveryState::Queued;
        for transition in transitions {
            let before = state;
            let Some(next) = transition.apply(state) else { continue };
            state = next;
            if before.is_final() {
                prop_assert_eq!(
                    transition,
                    Transition::Replay,
                    "only an operator's replay queues what has ended again"
                );
                prop_assert_eq!(state, DeliveryState::Queued);
            }
            if state == DeliveryState::Delivered {
                prop_assert_eq!(
                    before,
                    DeliveryState::Processing,
                    "only an attempt delivers"
                );
            }
        }
    }
}

#[test]
fn every_waiting_state_can_reach_delivered() {
    for waiting in [DeliveryState::Queued, DeliveryState::Retrying] {
        let claimed = Transition::Claim.apply(waiting).expect("it can be claimed");
        assert_eq!(
            Transition::Deliver.apply(claimed),
            Some(DeliveryState::Delivered)
        );
    }
}

#[test]
fn a_state_survives_the_round_trip_through_its_number() {
    for (number, state) in (0..).zip(DeliveryState::ALL) {
        assert_eq!(state.number(), number);
        assert_eq!(DeliveryState::from_number(number), Some(state));
    }
    assert_eq!(DeliveryState::from_number(5), None);
}

#[test]
fn a_name_is_parsed_or_refused_with_all_that_are_expected() {
    for state in DeliveryState::ALL {
        assert_eq!(DeliveryState::parse(state.name(), &[]), Ok(state));
    }
    let names = "expected one of queued, processing, retrying, delivered, dead_lettered";
    assert_eq!(DeliveryState::parse("sent", &[]), Err(names.to_owned()));
    assert_eq!(
        DeliveryState::parse("sent", &["blocked"]),
        Err(format!("{names}, blocked"))
    );
}
