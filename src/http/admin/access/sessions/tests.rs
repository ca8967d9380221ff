use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000).plus(Duration::from_secs(seconds))
}

#[test]
fn a_session_ends_after_an_hour_without_use_and_after_twelve_with_it() {
    let sessions = Sessions::default();
    let idle = sessions.begin([1; 32], at(0));
    assert_eq!(sessions.token(idle, at(3599)), Some([1; 32]));
    assert_eq!(sessions.token(idle, at(3599 + 3600)), None);

    let used = sessions.begin([2; 32], at(0));
    for minute in 1..12 * 60 {
        assert_eq!(sessions.token(used, at(minute * 60)), Some([2; 32]));
    }
    assert_eq!(sessions.token(used, at(12 * 3600)), None);
}

#[test]
fn an_ended_session_and_a_guessed_id_are_unknown() {
    let sessions = Sessions::default();
    let id = sessions.begin([1; 32], at(0));
    assert_eq!(SessionId::parse(&id.text()), Some(id));
    assert_eq!(sessions.token(SessionId([0; 32]), at(1)), None);
    sessions.end(id);
    assert_eq!(sessions.token(id, at(1)), None);
    for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"0".repeat(65)] {
        assert_eq!(SessionId::parse(text), None, "{text}");
    }
}

#[test]
fn one_session_too_many_ends_the_one_unused_for_longest() {
    let sessions = Sessions::default();
    let all: Vec<_> = (0..64)
        .map(|second| sessions.begin([1; 32], at(second)))
        .collect();
    assert!(sessions.token(all[0], at(100)).is_some());
    let last = sessions.begin([2; 32], at(101));
    assert_eq!(sessions.token(all[1], at(102)), None, "unused for longest");
    assert!(sessions.token(all[0], at(102)).is_some());
    assert_eq!(sessions.token(last, at(102)), Some([2; 32]));
    assert_eq!(sessions.lock().len(), 64);
}
