use super::caller::Role;
use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::{NamedSecret, Secret};

const OPERATE: &str = "operate-operate-1";
const READ: &str = "read-read-read-12";

fn named(name: &str, secret: &str) -> NamedSecret {
    NamedSecret {
        name: name.to_owned(),
        secret: Secret::new(secret),
    }
}

fn settings() -> Admin {
    Admin {
        tokens: vec![named("OPS", OPERATE)],
        read_tokens: vec![named("GRAFANA", READ)],
        ..Admin::default()
    }
}

fn access() -> (AdminAccess, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_000_000_000)));
    let access = AdminAccess::new(&settings(), 8081, Arc::clone(&clock) as Arc<dyn Clock>);
    (access, clock)
}

/// A request of a page of the listener itself.
fn request(cookie: Option<&str>) -> Parts {
    let mut request = hyper::Request::post("/sign-in")
        .header("Host", "127.0.0.1:8081")
        .header("Sec-Fetch-Site", "same-origin");
    if let Some(cookie) = cookie {
        request = request.header("Cookie", cookie);
    }
    request.body(()).expect("a request").into_parts().0
}

/// Signs in, and returns the cookie as a browser sends it.
fn signed_in(access: &AdminAccess, token: &str, before: Option<&str>) -> String {
    let (_, header) = access
        .sign_in(&request(before), false, token)
        .expect("a session");
    let text = header.to_str().expect("text");
    text.split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_session_has_the_role_and_the_name_of_its_token() {
    let (access, _) = access();
    for (token, name, role) in [
        (OPERATE, "OPS", Role::Operate),
        (READ, "GRAFANA", Role::Read),
    ] {
        let cookie = signed_in(&access, token, None);
        let caller = access.authenticate(&request(Some(&cookie))).expect("in");
        assert_eq!((caller.name.as_str(), caller.role), (name, role));
        assert_eq!(caller.proof, Proof::Session);
        let may_change = caller.check_form(&request(None), false).is_ok();
        assert_eq!(may_change, role == Role::Operate);
    }
}

#[test]
fn a_session_ends_with_its_token_and_at_the_sign_out() {
    let (access, _) = access();
    let ops = signed_in(&access, OPERATE, None);
    let grafana = signed_in(&access, READ, None);
    let without = Admin {
        read_tokens: Vec::new(),
        ..settings()
    };
    let access = access.reloaded(&without);
    assert!(access.authenticate(&request(Some(&grafana))).is_err());
    assert!(access.authenticate(&request(Some(&ops))).is_ok());
    let access = access.reloaded(&settings());
    assert!(
        access.authenticate(&request(Some(&grafana))).is_err(),
        "it doesn't come back with its token"
    );
    access.sign_out(&request(Some(&ops)));
    assert!(access.authenticate(&request(Some(&ops))).is_err());
}

#[test]
fn a_sign_in_makes_a_new_session_and_ends_the_one_before() {
    let (access, _) = access();
    let planted = format!("relay_8081={}", "ab".repeat(32));
    let first = signed_in(&access, OPERATE, Some(&planted));
    assert_ne!(first, planted);
    assert!(access.authenticate(&request(Some(&planted))).is_err());
    let second = signed_in(&access, OPERATE, Some(&first));
    assert!(access.authenticate(&request(Some(&first))).is_err());
    assert!(access.authenticate(&request(Some(&second))).is_ok());
}

#[test]
fn guesses_are_refused_after_five_and_a_bearer_token_is_never_slowed() {
    let (access, clock) = access();
    let status = |token: &str| {
        let answer = access.sign_in(&request(None), false, token);
        answer.map_err(|error| error.status.as_u16()).map(|_| ())
    };
    for _ in 0..5 {
        assert_eq!(status("a-wrong-token-123"), Err(401));
    }
    assert_eq!(status("a-wrong-token-123"), Err(429));
    assert_eq!(status(OPERATE), Err(429));
    let mut bearer = request(None);
    let value = format!("Bearer {OPERATE}").parse().expect("a value");
    bearer.headers.insert(AUTHORIZATION, value);
    assert!(access.authenticate(&bearer).is_ok());
    clock.advance(Duration::from_millis(58_500));
    let early = access.sign_in(&request(None), false, OPERATE);
    let early = early.expect_err("too early").retry_after();
    assert_eq!(early, Some(2), "a try after that succeeds");
    clock.advance(Duration::from_secs(2));
    assert_eq!(status(OPERATE), Ok(()));
}

#[test]
fn a_sign_in_of_another_page_or_host_is_refused() {
    let (access, _) = access();
    let mut foreign = request(None);
    let site = "cross-site".parse().expect("a value");
    foreign.headers.insert("sec-fetch-site", site);
    let status = |head: &Parts| {
        let error = access.sign_in(head, false, OPERATE).err();
        error.map(|error| error.status.as_u16())
    };
    assert_eq!(status(&foreign), Some(403));
    let mut rebound = request(None);
    let host = "evil.example:8081".parse().expect("a value");
    rebound.headers.insert("host", host);
    assert_eq!(status(&rebound), Some(421));
}

#[test]
fn a_wrong_bearer_token_is_not_excused_by_a_cookie() {
    let (access, _) = access();
    let cookie = signed_in(&access, OPERATE, None);
    let mut head = request(Some(&cookie));
    let value = "Bearer wrong-wrong-wrong".parse().expect("a value");
    head.headers.insert(AUTHORIZATION, value);
    assert!(access.authenticate(&head).is_err());
    // A proxy in front asks for a password of its own, and passes it on.
    let basic = "Basic b3BzOnBhc3N3b3Jk".parse().expect("a value");
    head.headers.insert(AUTHORIZATION, basic);
    assert!(access.authenticate(&head).is_ok());
    let second = "Bearer wrong-wrong-wrong".parse().expect("a value");
    head.headers.append(AUTHORIZATION, second);
    assert!(access.authenticate(&head).is_err());
}
