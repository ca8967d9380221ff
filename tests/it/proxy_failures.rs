//! Proxies that fail, refuse, or answer what no proxy should: each is told as the proxy's failure,
//! and is bounded in bytes and time.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::proxies::through;
use crate::support::certificates::self_signed;
use crate::support::proxy::ESTABLISHED;
use crate::support::raw::{read_head, receiver};
use crate::support::{TestRelay, event_id, event_with_status, every, orders};
use relay::config::Secret;

/// The time to connect: short, so that silent proxies cost a test little.
const PATIENCE: Duration = Duration::from_millis(400);

/// A proxy that runs a script on each connection. Returns its URL.
fn proxy(script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let url = receiver(None, move |_, socket| {
        let mut stream = socket.try_clone().expect("a descriptor");
        script(&mut stream);
    });
    url.trim_end_matches('/').to_owned()
}

/// A proxy that reads a request and answers with these bytes.
fn answering(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> String {
    proxy(move |stream| {
        read_head(stream);
        let _ = stream.write_all(answer.as_ref());
        // Stays until the relay closes, so that the answer isn't lost in a reset.
        let _ = stream.read(&mut [0; 1024]);
    })
}

/// Sends an event to `url` through the proxy. Returns its first attempt, and the kind of failure.
fn tried(proxy: &str, url: &str, authorization: Option<&str>) -> (Value, String) {
    let relay = TestRelay::start_with(url, |config| {
        config.delivery.proxy = Some(through(proxy));
        config.delivery.proxy_authorization = authorization.map(Secret::new);
        config.delivery.connect_timeout = Some(PATIENCE);
        orders(config).retry = every(Duration::from_secs(3600), 1);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "retrying");
    let kind = relay.peek("SELECT failure FROM attempts");
    let attempt = event["deliveries"][0]["history"][0].clone();
    assert_eq!(attempt["outcome"], "transient", "{attempt}");
    // The destination has not answered.
    assert!(attempt["status_code"].is_null(), "{attempt}");
    (attempt, kind)
}

/// Asserts the kind of a failure and its words, which follow the proxy's address.
fn assert_said(proxy: &str, url: &str, kind: &str, words: &str) {
    let (attempt, found) = tried(proxy, url, None);
    let error = attempt["error"].as_str().expect("an error");
    let address = proxy.strip_prefix("http://").expect("a URL");
    assert_eq!(error, format!("the proxy {address} {words}"));
    assert_eq!(found, kind, "{error}");
}

const URL: &str = "https://orders.invalid/";

#[test]
fn each_refusal_of_a_proxy_is_told_in_plain_words() {
    for (status, words) in [
        (
            "403 Go away",
            "answered CONNECT orders.invalid:443 with 403 Forbidden: its rules have to allow this \
             destination",
        ),
        (
            "407 Proxy Authentication Required",
            "asks for credentials (407 Proxy Authentication Required): expected \
             proxy_authorization_env beside proxy",
        ),
        (
            "502 Bad",
            "answered CONNECT orders.invalid:443 with 502 Bad Gateway: it did not reach the \
             destination",
        ),
        (
            "503 Busy\r\nRetry-After: 86400",
            "answered CONNECT orders.invalid:443 with 503 Service Unavailable: it did not reach \
             the destination",
        ),
        (
            "405 No",
            "answered CONNECT orders.invalid:443 with 405 Method Not Allowed: it makes no \
             tunnels, which relay needs for http URLs, too",
        ),
        (
            "410 Gone",
            "answered CONNECT orders.invalid:443 with 410 Gone",
        ),
        (
            "302 Found\r\nLocation: http://elsewhere/",
            "answered CONNECT orders.invalid:443 with 302 Found",
        ),
    ] {
        let proxy = answering(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        assert_said(&proxy, URL, "proxy", words);
    }
    let proxy = answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let (attempt, kind) = tried(&proxy, URL, Some("relay:wrong"));
    let error = attempt["error"].as_str().expect("an error");
    assert!(
        error.contains("refuses the credentials of proxy_authorization"),
        "{error}"
    );
    assert_eq!(kind, "proxy");
}

#[test]
fn a_proxy_that_cant_be_reached_is_told_from_its_destinations() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    assert_said(&closed, URL, "proxy", "refuses connections");
    let (attempt, kind) = tried("http://proxy.invalid:3128", URL, None);
    let error = attempt["error"].as_str().expect("an error");
    let begins = "the proxy proxy.invalid:3128 can't be found: ";
    assert!(error.starts_with(begins) && kind == "proxy", "{error}");
    let closing = proxy(|stream| {
        read_head(stream);
    });
    let words = "closed the connection before it answered CONNECT";
    assert_said(&closing, URL, "proxy", words);
    let resetting = proxy(|stream| {
        rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).expect("a socket");
    });
    assert_said(&resetting, URL, "proxy", words);
}

#[test]
fn answers_that_no_proxy_should_give_are_refused() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x05\xff",
        b"HTTP/1.1 abc\r\n\r\n",
    ] {
        let proxy = answering(garbage);
        let words = "answered CONNECT with something else than HTTP: is an HTTP proxy at its \
                     address?";
        assert_said(&proxy, URL, "proxy", words);
    }
    // Bytes before the destination was asked can only be the proxy's own.
    for url in [URL, "http://orders.invalid:443/"] {
        let forged = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let proxy = answering([ESTABLISHED, forged].concat());
        let words = "sent bytes of its own after it had opened the tunnel to orders.invalid:443";
        assert_said(&proxy, url, "proxy", words);
    }
    let proxy = proxy(|stream| {
        read_head(stream);
        let _ = stream.write_all(ESTABLISHED.as_bytes());
    });
    let words = "opened a tunnel to orders.invalid:443 that ended before TLS began: it, or the \
                 destination, closed it";
    assert_said(&proxy, URL, "proxy", words);
}

#[test]
fn an_endless_head_of_a_proxy_is_cut_off() {
    for piece in [
        &b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"[..],
        b"aaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let (sent, written) = std::sync::mpsc::channel();
        let sent = std::sync::Mutex::new(sent);
        let proxy = proxy(move |stream| {
            read_head(stream);
            let mut bytes = 0;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(piece).is_ok() {
                bytes += piece.len();
            }
            let _ = sent.lock().expect("no panic").send(bytes);
        });
        let words = "answered CONNECT with more headers than are read";
        assert_said(&proxy, URL, "proxy", words);
        // Bytes beyond the bound stand in the buffers of two sockets.
        let bytes = written
            .recv_timeout(Duration::from_secs(60))
            .expect("it ends");
        assert!(bytes < 16 << 20, "{bytes}");
    }
    // Interim answers are bounded, too.
    let proxy = proxy(|stream| {
        read_head(stream);
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
    });
    assert_said(
        &proxy,
        URL,
        "proxy",
        "answered CONNECT with more headers than are read",
    );
}

#[test]
fn a_slow_or_silent_proxy_is_left_after_the_time_to_connect() {
    let silent = proxy(|stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let slow = proxy(|stream| {
        read_head(stream);
        let head = "HTTP/1.1 200 OK\r\n".bytes().chain(std::iter::repeat(b'a'));
        for byte in head {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    for proxy in [silent, slow] {
        let start = Instant::now();
        let words = "did not answer CONNECT orders.invalid:443 in time: it is slow, or it waits \
                     for the destination";
        assert_said(&proxy, URL, "timeout", words);
        let took = start.elapsed();
        assert!(
            took >= PATIENCE && took < Duration::from_secs(30),
            "{took:?}"
        );
    }
}

#[test]
fn a_failure_of_tls_behind_a_proxy_is_the_destinations() {
    let own = self_signed("orders.invalid", |_| {});
    let server = std::sync::Arc::new(own.server());
    let proxy = proxy(move |stream| {
        read_head(stream);
        let _ = stream.write_all(ESTABLISHED.as_bytes());
        let connection = rustls::ServerConnection::new(std::sync::Arc::clone(&server));
        let stream = stream.try_clone().expect("a descriptor");
        let mut tls = rustls::StreamOwned::new(connection.expect("a connection"), stream);
        let _ = tls.read(&mut [0; 1024]);
    });
    let (attempt, kind) = tried(&proxy, URL, None);
    let error = attempt["error"].as_str().expect("an error");
    assert!(
        error.starts_with("the certificate is self-signed"),
        "{error}"
    );
    assert_eq!(kind, "tls");
}

#[test]
fn strangers_are_not_told_of_the_proxy() {
    let proxy = answering("HTTP/1.1 403 Forbidden\r\n\r\n");
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.proxy = Some(through(&proxy));
        orders(config).retry = every(Duration::from_secs(3600), 1);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "retrying");
    let path = format!("/events/{id}");
    let stranger = relay
        .client
        .send("GET", &path, &[("X-API-Key", "none")], b"");
    assert!(!stranger.text().contains("proxy"), "{}", stranger.text());
    assert_eq!(stranger.json()["last_error"], "internal");
}
