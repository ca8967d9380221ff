use super::*;
use crate::clock::SystemClock;

fn resolve(origin: UrlOrigin, url: &str) -> Result<Vec<SocketAddr>, String> {
    resolve_by(origin, Route::default(), url)
}

/// Resolves through a proxy at `proxy`, but for 127.0.0.2.
fn resolve_through(proxy: &str, origin: UrlOrigin, url: &str) -> Result<Vec<SocketAddr>, String> {
    let policy = ProxyPolicy {
        url: proxy.parse().expect("a URL"),
        no_proxy: vec!["127.0.0.2".parse().expect("an address")],
        authorization: None,
    };
    resolve_by(origin, Route::new(Some(Arc::new(policy))), url)
}

fn resolve_by(origin: UrlOrigin, route: Route, url: &str) -> Result<Vec<SocketAddr>, String> {
    let policy = AddressPolicy {
        allow_networks: Vec::new(),
        own_listeners: vec!["0.0.0.0:8080".parse().expect("an address")],
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let names = Names::new(8, Arc::clone(&clock));
    let resolver = Resolver::new(origin, route, Arc::new(policy), clock, names);
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

#[test]
fn behind_a_proxy_its_address_is_dialled_and_the_names_of_urls_are_not_looked_up() {
    let proxy = Ok(vec!["127.0.0.1:3128".parse().expect("an address")]);
    for url in [
        "https://orders.invalid/",
        "http://orders.invalid:81/",
        "https://10.0.0.1/",
        "http://127.0.0.1:9000/",
    ] {
        for at in ["http://127.0.0.1:3128", "http://127.1:3128"] {
            let found = resolve_through(at, UrlOrigin::Operator, url);
            assert_eq!(found, proxy, "{url}");
        }
    }
    let direct = resolve_through(
        "http://127.0.0.1:3128",
        UrlOrigin::Operator,
        "http://127.0.0.2/",
    );
    assert_eq!(
        direct,
        Ok(vec!["127.0.0.2:80".parse().expect("an address")])
    );
}

#[test]
fn behind_a_proxy_addresses_in_urls_are_still_checked() {
    let through = |origin, url| resolve_through("http://127.0.0.1:3128", origin, url);
    assert!(through(UrlOrigin::Client, "https://8.8.8.8/").is_ok());
    assert!(through(UrlOrigin::Client, "https://hooks.invalid/").is_ok());
    for url in [
        "http://127.0.0.1:9000/",
        "http://127.1/",
        "http://2130706433/",
        "http://localhost/",
        "http://a.localhost./",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
    ] {
        let error = through(UrlOrigin::Client, url).expect_err(url);
        assert!(error.contains("forbidden_address"), "{url}: {error}");
    }
    for url in [
        "http://127.0.0.1:8080/",
        "http://127.1:8080/",
        "http://localhost:8080/",
    ] {
        let error = through(UrlOrigin::Operator, url).expect_err(url);
        assert!(error.contains("own listeners"), "{url}: {error}");
    }
}

#[test]
fn a_proxy_may_have_any_address_but_those_of_relays_own_listeners() {
    for proxy in ["http://127.0.0.1:8080", "http://localhost:8080"] {
        for origin in [UrlOrigin::Operator, UrlOrigin::Client] {
            let error = resolve_through(proxy, origin, "https://8.8.8.8/").expect_err(proxy);
            assert!(error.contains("the proxy "), "{error}");
            assert!(error.contains("own listeners"), "{error}");
        }
    }
    let unknown = "http://proxy.invalid:3128";
    let error = resolve_through(unknown, UrlOrigin::Operator, "https://8.8.8.8/");
    let error = error.expect_err("no such name");
    assert!(
        error.contains("the proxy proxy.invalid:3128 can't be found"),
        "{error}"
    );
}
