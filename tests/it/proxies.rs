//! Destinations behind an HTTP proxy: which are, with which credentials, and ad hoc URLs.

use std::net::SocketAddr;
use std::time::Duration;

use relay::Config;
use relay::config::{Destination, ProxySetting, Secret, Source};

use crate::support::certificates::self_signed;
use crate::support::proxy::{ESTABLISHED, Proxy};
use crate::support::raw::{answer, read_head, receiver};
use crate::support::{
    Answer, Process, Receiver, TestRelay, event_id, event_with_status, every, orders, relay_id,
    relay_to, relay_with_status,
};

pub fn through(url: &str) -> ProxySetting {
    ProxySetting::Through(url.parse().expect("a proxy's URL"))
}

/// The request line of each CONNECT.
fn targets(proxy: &Proxy) -> Vec<String> {
    let heads = proxy.heads().into_iter();
    heads
        .map(|head| head.lines().next().expect("a line").to_owned())
        .collect()
}

/// The value of a header of each CONNECT.
fn values(proxy: &Proxy, name: &str) -> Vec<Option<String>> {
    let value = |head: &String| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    proxy.heads().iter().map(value).collect()
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes
        .windows(part.len())
        .any(|some| some == part.as_bytes())
}

#[test]
fn http_and_https_urls_go_through_one_tunnel_that_is_used_again() {
    let own = self_signed("orders.invalid", |_| {});
    for is_tls in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let pem = own.write(directory.path());
        let inside = receiver(is_tls.then(|| own.server()), |stream, _| {
            while read_head(stream).is_some() {
                answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let address: SocketAddr = inside
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .and_then(|address| address.parse().ok())
            .expect("an address");
        let proxy = Proxy::to(address);
        let (scheme, port) = if is_tls { ("https", 443) } else { ("http", 80) };
        let url = format!("{scheme}://orders.invalid/hook");
        let relay = TestRelay::start_with(&url, |config| {
            config.delivery.proxy = Some(through(&proxy.url));
            orders(config).ca_file = is_tls.then(|| pem.clone());
        });
        for key in ["1", "2"] {
            let id = event_id(&relay.client.hook(key, b"{\"a\":\"signed\"}"));
            event_with_status(&relay.client, &id, "delivered");
        }
        let address: String = relay.peek("SELECT address FROM attempts");
        assert_eq!(address, "proxy 127.0.0.1");
        let target = format!("orders.invalid:{port}");
        assert_eq!(targets(&proxy), [format!("CONNECT {target} HTTP/1.1")]);
        assert_eq!(values(&proxy, "host"), [Some(target)]);
        assert_eq!(values(&proxy, "proxy-authorization"), [None]);
        let head = &proxy.heads()[0];
        assert!(head.ends_with("\r\n\r\n"), "{head:?}");
        // The proxy sees neither path nor body of an https URL.
        assert_eq!(contains(&proxy.seen(), "signed"), !is_tls);
        assert_eq!(contains(&proxy.seen(), "/hook"), !is_tls);
    }
}

/// Adds a destination and a source of the same name.
fn add(config: &mut Config, name: &str, to: Destination) {
    config.destinations.insert(name.to_owned(), to);
    config.sources.insert(name.to_owned(), Source::to([name]));
}

/// Sends an event to a source, and waits until it is delivered.
fn deliver(relay: &TestRelay, source: &str) {
    let path = format!("/webhooks/{source}");
    let reply = relay
        .client
        .send("POST", &path, &[("Idempotency-Key", "1")], b"{}");
    event_with_status(&relay.client, &event_id(&reply), "delivered");
}

#[test]
fn credentials_go_to_their_own_proxy_and_to_no_destination() {
    let inside = Receiver::start(|_| Answer::status(200));
    let (shared, own, open) = (Proxy::start(), Proxy::start(), Proxy::start());
    let relay = TestRelay::start_with(&inside.url("/"), |config| {
        config.delivery.proxy = Some(through(&shared.url));
        config.delivery.proxy_authorization = Some(Secret::new("relay:hunter2"));
        let mut to = orders(config).clone();
        to.proxy = Some(through(&own.url));
        to.proxy_authorization = Some(Secret::new("Bearer abc"));
        add(config, "own", to.clone());
        to.proxy = Some(through(&open.url));
        to.proxy_authorization = None;
        add(config, "open", to);
    });
    for source in ["github", "own", "open"] {
        deliver(&relay, source);
        assert_eq!(inside.next().header("proxy-authorization"), "");
    }
    let sent = |proxy| values(proxy, "proxy-authorization");
    assert_eq!(
        sent(&shared),
        [Some("Basic cmVsYXk6aHVudGVyMg==".to_owned())]
    );
    assert_eq!(sent(&own), [Some("Bearer abc".to_owned())]);
    assert_eq!(sent(&open), [None]);
}

#[test]
fn exempt_hosts_and_destinations_are_reached_without_the_proxy() {
    let inside = Receiver::start(|_| Answer::status(200));
    let port = inside.address().port();
    let proxy = Proxy::start();
    let relay = TestRelay::start_with(&inside.url("/"), |config| {
        config.delivery.proxy = Some(through(&proxy.url));
        config.delivery.no_proxy = ["localhost", "127.0.0.2/32"]
            .map(|host| host.parse().expect("a host"))
            .to_vec();
        let at =
            |host: &str| Destination::new(format!("http://{host}:{port}/").parse().expect("a URL"));
        add(config, "by-name", at("localhost"));
        let mut direct = at("127.0.0.1");
        direct.proxy = Some(ProxySetting::Direct);
        add(config, "direct", direct);
        // The exemptions are from the proxy of all: a proxy of its own is used.
        let mut own = at("localhost");
        own.proxy = Some(through(&proxy.url));
        add(config, "own", own);
    });
    deliver(&relay, "by-name");
    deliver(&relay, "direct");
    assert_eq!(proxy.heads().len(), 0);
    deliver(&relay, "github");
    deliver(&relay, "own");
    assert_eq!(
        targets(&proxy),
        [
            format!("CONNECT 127.0.0.1:{port} HTTP/1.1"),
            format!("CONNECT localhost:{port} HTTP/1.1"),
        ]
    );
}

/// Creates a relay to `url`, and waits until it has `status`. Returns its error.
fn relayed(relay: &TestRelay, url: &str, status: &str) -> String {
    let id = relay_id(&relay.client.create(&[], &relay_to(url, "{}")));
    let relay = relay_with_status(&relay.client, &id, status);
    relay["failureReason"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn ad_hoc_urls_avoid_the_proxy_unless_the_operator_opens_it_to_them() {
    let inside = Receiver::start(|_| Answer::status(200));
    let port = inside.address().port();
    for is_open in [false, true] {
        let proxy = Proxy::to(inside.address());
        let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
            config.delivery.proxy = Some(through(&proxy.url));
            config.delivery.proxy_adhoc = is_open;
            config.delivery.defaults.retry = every(Duration::from_millis(1), 1);
        });
        relayed(&relay, &inside.url("/"), "delivered");
        assert_eq!(proxy.heads().len(), usize::from(is_open));
        if is_open {
            // Only the proxy knows this name.
            relayed(&relay, "http://hooks.invalid/", "delivered");
            assert_eq!(targets(&proxy)[1], "CONNECT hooks.invalid:80 HTTP/1.1");
        } else {
            let error = relayed(&relay, "http://hooks.invalid/", "failed");
            assert!(error.contains("name was not found"), "{error}");
        }
    }
    // Without a network that is opened, nothing inside is reached, with the proxy or without it.
    for is_open in [false, true] {
        let proxy = Proxy::start();
        let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
            config.delivery.proxy = Some(through(&proxy.url));
            config.delivery.proxy_adhoc = is_open;
            config.delivery.allow_networks = Vec::new();
        });
        for host in ["localhost", "a.localhost"] {
            let id = relay
                .client
                .create(&[], &relay_to(&format!("http://{host}:{port}/"), "{}"));
            if host == "a.localhost" && !is_open {
                // Whether the system knows this name is its own affair.
                continue;
            }
            let found = relay_with_status(&relay.client, &relay_id(&id), "failed");
            let error = found["failureReason"].as_str().expect("an error");
            assert!(error.contains("forbidden_address"), "{error}");
        }
        assert_eq!(proxy.heads().len(), 0);
    }
}

#[test]
fn the_environments_proxies_are_not_used() {
    let inside = Receiver::start(|_| Answer::status(200));
    let proxy = Proxy::start();
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Process::command(directory.path());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, &proxy.url);
        command.env(name.to_ascii_lowercase(), &proxy.url);
    }
    command.arg("serve");
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n\
         [database]\nmin_free_bytes = \"0\"\n\
         [destinations.orders]\nurl = \"{}\"\n[sources.github]\ndestinations = [\"orders\"]\n",
        inside.url("/")
    );
    let relay = Process::serve_by(command, directory.path(), &toml);
    event_id(&relay.client.hook("1", b"{}"));
    assert_eq!(&inside.next().body[..], b"{}");
    assert_eq!(proxy.heads().len(), 0);
    relay.kill();
}

#[test]
fn credentials_are_printed_nowhere_and_an_opened_proxy_is_warned_of() {
    let asking = Proxy::answering(None, |head| {
        if head.contains("Basic cmVsYXk6aHVudGVyMg==") {
            "HTTP/1.1 407 hunter2\r\nContent-Length: 7\r\n\r\nhunter2".to_owned()
        } else {
            ESTABLISHED.to_owned()
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n\
         [database]\nmin_free_bytes = \"0\"\n\
         [delivery]\nproxy = \"{}\"\nproxy_authorization_env = \"P\"\nproxy_adhoc = true\n\
         [destinations.orders]\nurl = \"https://orders.invalid/\"\n\
         [sources.github]\ndestinations = [\"orders\"]\n[log]\nlevel = \"trace\"\n",
        asking.url
    );
    std::fs::write(directory.path().join("relay.toml"), &toml).expect("writing relay.toml");
    let checked = Process::command(directory.path())
        .args(["check"])
        .env("P", "relay:hunter2")
        .output()
        .expect("it runs");
    let said = String::from_utf8(checked.stdout).expect("text");
    assert!(checked.status.success(), "{said}");
    let address = asking.url.strip_prefix("http://").expect("a URL");
    assert!(
        said.contains(&format!("through the proxy {address}")),
        "{said}"
    );
    assert!(
        said.contains("note          delivery.proxy_adhoc: "),
        "{said}"
    );

    let mut command = Process::command(directory.path());
    command.arg("serve").env("P", "relay:hunter2");
    let mut relay = Process::serve_by(command, directory.path(), &toml);
    event_id(&relay.client.hook("1", b"{}"));
    let log = relay.begun.clone() + &relay.read_until("refuses the credentials");
    assert!(log.contains("delivery.proxy_adhoc: "), "{log}");
    for text in [&said, &log] {
        assert!(
            !text.contains("hunter2") && !text.contains("cmVsYXk6"),
            "{text}"
        );
    }
    relay.kill();
}
