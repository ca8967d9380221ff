use super::*;
use crate::clock::SystemClock;

fn resolve(origin: UrlOrigin, url: &str) -> Result<Vec<SocketAddr>, String> {
    let policy = AddressPolicy {
        allow_networks: Vec::new(),
        own_listeners: vec!["0.0.0.0:8080".parse().expect("an address")],
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let names = Names::new(8, Arc::clone(&clock));
    let resolver = Resolver::new(origin, Arc::new(policy), clock, names);
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
fn client_urls_reach_public_addresses_only_however_they_are_spelled() {
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
        let error = resolve(UrlOrigin::Client, url).expect_err(url);
        assert!(error.contains("forbidden_address"), "{url}: {error}");
        assert!(error.contains("delivery.allow_networks"), "{url}: {error}");
    }
    assert_eq!(
        resolve(UrlOrigin::Client, "https://8.8.8.8/"),
        Ok(vec!["8.8.8.8:443".parse().expect("an address")])
    );
}

#[test]
fn operator_urls_reach_any_address_but_relays_own() {
    assert!(resolve(UrlOrigin::Operator, "http://127.0.0.1:9000/").is_ok());
    assert!(resolve(UrlOrigin::Operator, "http://10.0.0.1/").is_ok());
    for url in [
        "http://127.0.0.1:8080/",
        "http://localhost:8080/",
        "http://127.1:8080/",
    ] {
        let error = resolve(UrlOrigin::Operator, url).expect_err(url);
        assert!(error.contains("own listeners"), "{url}: {error}");
    }
}
