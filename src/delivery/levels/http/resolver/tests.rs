use super::*;
use crate::clock::SystemClock;

fn resolve(trust: Trust, url: &str) -> Result<Vec<SocketAddr>, String> {
    let policy = AddressPolicy {
        allow_networks: Vec::new(),
        own_listeners: vec!["0.0.0.0:8080".parse().expect("an address")],
    };
    let names = Names::new(8);
    let resolver = Resolver::new(trust, Arc::new(policy), Arc::new(SystemClock::new()), names);
    let uri: Uri = url.parse().expect("a URL");
    let timeout = NextTimeout {
        after: ureq::unversioned::transport::time::Duration::from_secs(10),
        reason: ureq::Timeout::Resolve,
        ..NextTimeout::default()
    };
    resolver
        .resolve(&uri, &Config::default(), timeout)
        .map(|addresses| addresses.to_vec())
        .map_err(|error| error.to_string())
}

#[test]
fn ad_hoc_urls_stay_outside_however_they_are_spelled() {
    for url in [
        "http://127.0.0.1:9000/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
    ] {
        let error = resolve(Trust::AdHoc, url).expect_err(url);
        assert!(error.contains("forbidden_address"), "{url}: {error}");
        assert!(error.contains("delivery.allow_networks"), "{url}: {error}");
    }
    assert_eq!(
        resolve(Trust::AdHoc, "https://8.8.8.8/"),
        Ok(vec!["8.8.8.8:443".parse().expect("an address")])
    );
}

#[test]
fn operators_may_go_anywhere_but_to_ourselves() {
    assert!(resolve(Trust::Operator, "http://127.0.0.1:9000/").is_ok());
    assert!(resolve(Trust::Operator, "http://10.0.0.1/").is_ok());
    for url in [
        "http://127.0.0.1:8080/",
        "http://localhost:8080/",
        "http://127.1:8080/",
    ] {
        let error = resolve(Trust::Operator, url).expect_err(url);
        assert!(error.contains("own listeners"), "{url}: {error}");
    }
}

const MOST: usize = 4;

#[test]
fn whoever_asks_while_a_name_is_looked_up_waits_for_the_same_answer() {
    let resolver = Resolver::new(
        Trust::Operator,
        Arc::new(AddressPolicy {
            allow_networks: Vec::new(),
            own_listeners: Vec::new(),
        }),
        Arc::new(SystemClock::new()),
        Names::new(MOST),
    );
    // One that hangs.
    let hanging = Arc::new(LookUp::default());
    let name = ("hangs.example".to_owned(), 80);
    let entry = Entry::Pending(Arc::clone(&hanging));
    resolver
        .names
        .known
        .lock()
        .expect(NO_PANIC)
        .insert(name, entry);
    let ask = |millis| {
        let timeout = NextTimeout {
            after: Duration::from_millis(millis).into(),
            reason: ureq::Timeout::Resolve,
            per_read: None,
            per_write: None,
        };
        resolver.addresses("hangs.example", 80, timeout)
    };
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
    // And there is an end to how many may hang.
    for number in 0..MOST {
        let entry = Entry::Pending(Arc::default());
        let mut names = resolver.names.known.lock().expect(NO_PANIC);
        names.insert((format!("{number}.example"), 80), entry);
    }
    let timeout = NextTimeout {
        after: Duration::from_secs(60).into(),
        reason: ureq::Timeout::Resolve,
        per_read: None,
        per_write: None,
    };
    let refused = resolver.addresses("another.example", 80, timeout);
    let refused = refused.expect_err("there are enough");
    let outcome = crate::delivery::levels::http::answer::failure(&refused, Duration::ZERO);
    assert!(!outcome.is_made, "{outcome:?}");
}
