//! The way to destinations: proxies and client certificates.

use super::load;

const TO: &str = "[destinations.a]\nurl='https://a.example/'\n";

/// The proxy of the destination `a`, and its credentials.
fn proxy(text: &str, env: &[(&str, &str)]) -> Option<(String, Option<String>)> {
    let config = load(text, env).expect("a valid file").resolve();
    let proxy = config.destination("a").network.proxy.clone()?;
    let authorization = proxy.authorization.as_ref();
    let authorization = authorization.map(|secret| secret.reveal().to_owned());
    Some((proxy.url.to_string(), authorization))
}

fn at(url: &str, authorization: Option<&str>) -> (String, Option<String>) {
    (url.to_owned(), authorization.map(str::to_owned))
}

#[test]
fn a_destination_has_the_proxy_of_all_its_own_or_none() {
    let all = "[delivery]\nproxy='http://p:3128'\n";
    assert_eq!(proxy(TO, &[]), None);
    assert_eq!(proxy(&format!("{all}{TO}"), &[]), Some(at("p:3128", None)));
    assert_eq!(proxy(&format!("{all}{TO}proxy=''"), &[]), None);
    assert_eq!(
        proxy(&format!("{all}{TO}proxy='http://q/'"), &[]),
        Some(at("q:80", None))
    );
    assert_eq!(proxy(&format!("[delivery]\nproxy=''\n{TO}"), &[]), None);
}

#[test]
fn a_proxys_credentials_are_its_own_and_stand_in_one_place() {
    let all = "[delivery]\nproxy='http://p:3128'\nproxy_authorization_env='P'\n";
    let env = [("P", " u:v \n"), ("Q", "Bearer abc")];
    assert_eq!(
        proxy(&format!("{all}{TO}"), &env),
        Some(at("p:3128", Some("Basic dTp2")))
    );
    // The shared proxy's credentials don't go to another proxy.
    assert_eq!(
        proxy(&format!("{all}{TO}proxy='http://q/'"), &env),
        Some(at("q:80", None))
    );
    let own = "proxy='http://q/'\nproxy_authorization_env='Q'";
    assert_eq!(
        proxy(&format!("{all}{TO}{own}"), &env),
        Some(at("q:80", Some("Bearer abc")))
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("credentials");
    std::fs::write(&path, "\nu:v\n").expect("writing it");
    let file = format!(
        "[delivery]\nproxy='http://p'\nproxy_authorization_file='{}'\n{TO}",
        path.display()
    );
    assert_eq!(proxy(&file, &[]), Some(at("p:80", Some("Basic dTp2"))));
}

#[test]
fn ad_hoc_urls_have_no_proxy_unless_it_is_opened_to_them() {
    for (keys, has_one) in [
        ("", false),
        ("proxy_adhoc=false", false),
        ("proxy_adhoc=true", true),
    ] {
        let text = format!("[delivery]\nproxy='http://p'\n{keys}");
        let config = load(&text, &[]).expect("a valid file").resolve();
        assert_eq!(config.adhoc().network.proxy.is_some(), has_one, "{keys}");
        let gone = config.destination("a.name.that.is.gone");
        assert_eq!(gone.network.proxy.is_some(), has_one, "{keys}");
    }
}

#[test]
fn a_proxy_that_cant_be_used_is_refused_without_a_word_of_its_password() {
    let all = |keys: &str| format!("[delivery]\n{keys}\n{TO}");
    let own = |keys: &str| format!("{TO}{keys}\n");
    for (text, error) in [
        (
            all("proxy='proxy:3128'"),
            "relay.toml:2: delivery.proxy: \"proxy:3128\": must be an http URL such as",
        ),
        (
            all("proxy='https://proxy'"),
            "delivery.proxy: \"https://proxy\": must be an http URL",
        ),
        (
            all("proxy='http://u:hunter2@proxy:3128'"),
            "delivery.proxy: must not hold a user name or password: name their variable in \
             proxy_authorization_env",
        ),
        (
            all("proxy='http://proxy/a'"),
            "delivery.proxy: \"http://proxy/a\": must end after",
        ),
        (
            all("proxy='http://127.0.0.1:8080'"),
            "delivery.proxy: \"127.0.0.1:8080\": expected an address other than server.listen \
             (127.0.0.1:8080)",
        ),
        (
            all("proxy='http://localhost:8081'"),
            "delivery.proxy: \"localhost:8081\": expected an address other than admin.listen \
             (127.0.0.1:8081)",
        ),
        (
            own("proxy='http://127.1:8080'"),
            "destinations.a.proxy: \"127.1:8080\": expected an address other than server.listen",
        ),
        (
            all("proxy='http://p'\nno_proxy=['*.example']"),
            "delivery.no_proxy[0]: \"*.example\": must be a host's name such as",
        ),
        (
            all("no_proxy=['a']"),
            "delivery.no_proxy: expected delivery.proxy beside it",
        ),
        (
            all("proxy=''\nproxy_adhoc=true"),
            "delivery.proxy_adhoc: expected delivery.proxy",
        ),
        (
            all("proxy_authorization='u:hunter2'"),
            "delivery.proxy_authorization: expected delivery.proxy beside it",
        ),
        (
            own("proxy=''\nproxy_authorization='u:hunter2'"),
            "destinations.a.proxy_authorization: expected destinations.a.proxy beside it",
        ),
        (
            all("proxy='http://p'\nproxy_authorization='hunter2'"),
            "delivery.proxy_authorization: ***: expected \"user:password\"",
        ),
        (
            all("proxy='http://p'\nproxy_authorization=['u:hunter2']"),
            "delivery.proxy_authorization: ***: expected",
        ),
        (
            all("proxy='http://p'\nproxy_authorization_env='NONE'"),
            "delivery.proxy_authorization_env: \"NONE\": expected a variable that holds a secret",
        ),
        (
            all("proxy='http://p'\nproxy_authorization='u:hunter2'\nproxy_authorization_env='P'"),
            "delivery.proxy_authorization: expected one of delivery.proxy_authorization, ",
        ),
    ] {
        let found = load(&text, &[("P", "u:hunter2")]).expect_err(&text);
        assert!(found.contains(error), "{text}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_client_certificate_needs_its_key_and_an_https_url() {
    for (text, error) in [
        (
            format!("{TO}client_cert_file='a.pem'"),
            "destinations.a.client_cert_file: \"a.pem\": expected client_key_file beside it",
        ),
        (
            format!("{TO}client_key_file='a.key'"),
            "destinations.a.client_key_file: \"a.key\": expected client_cert_file beside it",
        ),
        (
            "[destinations.a]\nurl='HTTP://a/'\nclient_cert_file='a.pem'\nclient_key_file='a.key'"
                .to_owned(),
            "destinations.a.client_cert_file: \"a.pem\": contradicts url, which is http",
        ),
    ] {
        let found = load(&text, &[]).expect_err(&text);
        assert!(found.contains(error), "{text}: {found}");
    }
}
