use std::time::Duration;

use ureq::Timeout;

use super::*;
use crate::delivery::levels::http::wire::scene::{Scene, host};

/// Whether a connection waits for its next request after ureq did this with it.
fn stays(host_of_request: Option<Host>, used: impl FnOnce(&mut Leased)) -> bool {
    let scene = Scene::new(10);
    let (wire, _other) = scene.connect();
    let mut leased = Leased {
        wire: Some(wire),
        host: host_of_request,
        idle: Arc::clone(&scene.idle),
        stays: false,
    };
    used(&mut leased);
    drop(leased);
    scene.take("a").is_some()
}

fn send(leased: &mut Leased) {
    let timeout = NextTimeout {
        after: Duration::from_secs(60).into(),
        reason: Timeout::SendRequest,
        per_read: None,
        per_write: None,
    };
    leased.transmit_output(0, timeout).expect("it is open");
}

#[test]
fn a_connection_waits_for_its_next_request_once_ureq_would_keep_it() {
    let a = || Some(host("a"));
    assert!(stays(a(), |leased| assert!(leased.is_open())));
    assert!(!stays(a(), |_| {}), "its answer may not have been read");
    assert!(!stays(None, |leased| assert!(leased.is_open())));
}

#[test]
fn a_connection_that_has_sent_since_it_was_asked_is_closed() {
    let is_kept = stays(Some(host("a")), |leased| {
        assert!(leased.is_open());
        send(leased);
    });
    assert!(!is_kept);
}
