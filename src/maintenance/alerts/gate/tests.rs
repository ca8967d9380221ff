use proptest::prelude::*;

use super::*;

const HOLDING: Holding = Holding {
    bad_for: Duration::from_secs(60),
    good_for: Duration::from_secs(120),
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
}

#[test]
fn a_state_begins_and_ends_only_after_its_readings_have_held() {
    let mut gate = Gate::default();
    let mut is_bad = false;
    let mut turned = Vec::new();
    let readings = [
        (0, Reading::Bad),
        (59, Reading::Bad),
        // A better reading begins the time anew.
        (59, Reading::Between),
        (60, Reading::Bad),
        (119, Reading::Bad),
        (120, Reading::Bad),
        (121, Reading::Good),
        (200, Reading::Between),
        (201, Reading::Good),
        (320, Reading::Good),
        (321, Reading::Good),
        (322, Reading::Good),
    ];
    for (seconds, reading) in readings {
        if gate.turns(is_bad, reading, HOLDING, at(seconds)) {
            is_bad = !is_bad;
            turned.push((seconds, is_bad));
        }
    }
    assert_eq!(turned, [(120, true), (321, false)]);
}

proptest! {
    /// However readings come, two turns of a kind never follow each other sooner than both times
    /// together.
    #[test]
    fn a_gate_turns_at_most_once_in_its_time(
        readings in prop::collection::vec((0..90u64, 0..3u8), 0..300)
    ) {
        let mut gate = Gate::default();
        let (mut is_bad, mut now, mut began) = (false, 0, None::<u64>);
        for (pause, reading) in readings {
            now += pause;
            let reading = [Reading::Bad, Reading::Between, Reading::Good][usize::from(reading)];
            if gate.turns(is_bad, reading, HOLDING, at(now)) {
                is_bad = !is_bad;
                if is_bad {
                    let least = HOLDING.bad_for + HOLDING.good_for;
                    let apart = began.is_none_or(|began| now - began >= least.as_secs());
                    prop_assert!(apart, "began at {began:?} and at {now}");
                    began = Some(now);
                }
            }
        }
    }
}
