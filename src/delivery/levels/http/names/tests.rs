use super::*;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::delivery::levels::http::answer;

const MAX_PENDING: usize = 4;

fn timeout(millis: u64) -> NextTimeout {
    NextTimeout {
        after: Duration::from_millis(millis).into(),
        reason: ureq::Timeout::Resolve,
        per_read: None,
        per_write: None,
    }
}

#[test]
fn requests_for_a_name_wait_for_one_look_up_and_look_ups_are_bounded() {
    let names = Names::new(MAX_PENDING, Arc::new(SystemClock::new()));
    // A look-up that hangs.
    let hanging = Arc::new(LookUp::default());
    let name = ("hangs.example".to_owned(), 80);
    let entry = Entry::Pending(Arc::clone(&hanging));
    names
        .known
        .lock()
        .expect(NO_PANIC)
        .insert(name.clone(), entry);
    let ask = |millis| names.addresses(name.clone(), timeout(millis));
    for _ in 0..3 {
        assert!(matches!(ask(5), Err(ureq::Error::Timeout(_))));
    }
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(60_000));
        *hanging.found.lock().expect(NO_PANIC) = Some(Found::Addresses(vec![address]));
        hanging.is_over.notify_all();
        assert_eq!(
            waiting.join().expect("no panic").expect("an answer"),
            [address]
        );
    });
    for number in 0..MAX_PENDING {
        let entry = Entry::Pending(Arc::default());
        let mut known = names.known.lock().expect(NO_PANIC);
        known.insert((format!("{number}.example"), 80), entry);
    }
    let another = ("another.example".to_owned(), 80);
    let refused = names.addresses(another, timeout(60_000));
    let refused = refused.expect_err("there are enough");
    let outcome = answer::failure(&refused, Config::default().resolve().adhoc());
    assert!(!outcome.is_made, "{outcome:?}");
}

/// A name server that doesn't answer must not be told as a name that is wrong.
#[test]
fn a_look_up_that_finds_nothing_is_told_in_the_systems_words() {
    let found = |words: &str| match Found::of(Err(std::io::Error::other(words.to_owned()))) {
        Found::None(why) => why,
        other => panic!("{other:?}"),
    };
    let again = "Temporary failure in name resolution";
    assert_eq!(
        found(&format!("failed to lookup address information: {again}")),
        again
    );
    assert_eq!(found("something else"), "something else");
    let look_up = LookUp::default();
    *look_up.found.lock().expect(NO_PANIC) = Some(Found::None(again.to_owned()));
    let error = look_up.wait(timeout(60_000)).expect_err("there is nothing");
    let outcome = answer::failure(&error, Config::default().resolve().adhoc());
    assert_eq!(outcome.failure, Some(crate::model::FailureKind::Dns));
    assert_eq!(
        outcome.error.as_deref(),
        Some("the host's name was not found: Temporary failure in name resolution")
    );
}
