//! What level 3 does in a real outage: breakers, pauses, and receivers that misbehave.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay::Config;
use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::{Destination, RateLimit, RetrySettings, Source};

use crate::support::{
    Answer, Process, Receiver, TestRelay, config, event_id, event_with_status, relay_id, relay_to,
    relay_with_status, until,
};

fn orders(config: &mut Config) -> &mut Destination {
    config
        .destinations
        .get_mut("orders")
        .expect("a destination")
}

fn every(wait: Duration, times: usize) -> RetrySettings {
    RetrySettings {
        schedule: Some(vec![wait; times]),
        jitter: Some(0.0),
        ..RetrySettings::default()
    }
}

#[test]
fn a_broken_destination_is_left_alone_and_its_deliveries_lose_nothing() {
    let hits = Arc::new(AtomicUsize::new(0));
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let (hits, is_well) = (Arc::clone(&hits), Arc::clone(&is_well));
        Receiver::start(move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            Answer::status(if is_well.load(Ordering::SeqCst) {
                200
            } else {
                500
            })
        })
    };
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = || {
        let mut config = config(directory.path(), &receiver.url("/"));
        orders(&mut config).retry = every(Duration::from_secs(1), 20);
        TestRelay::start_in(Arc::clone(&directory), config, Some(Arc::clone(&clock)))
    };
    let mut relay = start();
    let ids: Vec<_> = (0..30)
        .map(|key| event_id(&relay.client.hook(&key.to_string(), b"{}")))
        .collect();
    let attempts = |relay: &TestRelay| -> i64 {
        relay
            .sqlite()
            .query_row("SELECT sum(attempts) FROM deliveries", [], |row| row.get(0))
            .expect("a sum")
    };
    // One at a time, since it answers nothing but failures; after ten it is broken.
    until("it is left alone", || {
        let event = relay.client.get(&format!("/events/{}", ids[29])).json();
        let says = event["status_description"].as_str()?;
        says.contains("circuit breaker is open").then_some(())
    });
    assert_eq!((hits.load(Ordering::SeqCst), attempts(&relay)), (10, 10));
    let is_shown_open = |relay: &TestRelay| {
        let metrics = relay.admin().send("GET", "/metrics", &[], b"").text();
        metrics
            .contains("relay_destination_state{destination=\"orders\",state=\"open\"} 1")
            .then_some(())
    };
    until("it is shown", || is_shown_open(&relay));

    // A restart forgets nothing.
    clock.advance(Duration::from_secs(29));
    relay.stop();
    let mut relay = start();
    until("the executor has looked", || is_shown_open(&relay));
    clock.advance(Duration::from_millis(900));
    until("the writer is at rest", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(hits.load(Ordering::SeqCst), 10);

    // A probe, and then it waits for twice as long.
    clock.advance(Duration::from_millis(100));
    until("the probe is made", || {
        (attempts(&relay) == 11).then_some(())
    });
    until("it is settled", || {
        let probe: i64 = relay
            .sqlite()
            .query_row(
                "SELECT probe_wait FROM destinations WHERE name = 'orders'",
                [],
                |row| row.get(0),
            )
            .expect("a wait");
        (probe == 60_000).then_some(())
    });
    clock.advance(Duration::from_secs(59));
    until("the writer is at rest", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(hits.load(Ordering::SeqCst), 11);

    // It is mended: one succeeds, and the rest follows.
    is_well.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(1));
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 11 + 30);
    relay.stop();
}

#[test]
fn a_hold_counts_for_what_is_claimed_in_the_very_turn_that_brings_it() {
    let arrivals = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(std::sync::Barrier::new(5));
    let receiver = {
        let (arrivals, gate) = (Arc::clone(&arrivals), Arc::clone(&gate));
        Receiver::start(move |_| {
            // The first three succeed, so that four go at once; and those are told to wait together.
            let number = arrivals.fetch_add(1, Ordering::SeqCst);
            if number < 3 {
                return Answer::status(200);
            }
            tokio::task::block_in_place(|| gate.wait());
            Answer::status(429).header("Retry-After", "3600")
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        config.delivery.workers = 8;
        orders(config).concurrency = Some(4);
        orders(config).retry = every(Duration::from_secs(1), 5);
    });
    for key in 0..3 {
        let id = event_id(&relay.client.hook(&key.to_string(), b"{}"));
        event_with_status(&relay.client, &id, "delivered");
    }
    let ids: Vec<_> = (3..40)
        .map(|key| event_id(&relay.client.hook(&key.to_string(), b"{}")))
        .collect();
    gate.wait();
    until("all that went are settled", || {
        let held = relay.client.get(&format!("/events/{}", ids[36])).json();
        let says = held["status_description"].as_str()?;
        let busy: i64 = relay
            .sqlite()
            .query_row(
                "SELECT count(*) FROM deliveries WHERE claim IS NOT NULL",
                [],
                |row| row.get(0),
            )
            .expect("a count");
        (says.contains("Retry-After") && busy == 0).then_some(())
    });
    assert_eq!(
        arrivals.load(Ordering::SeqCst),
        3 + 4,
        "no more after the hold"
    );
}

#[test]
fn a_breaker_that_is_turned_off_is_open_no_more() {
    let receiver = Receiver::start(|_| Answer::status(500));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = |has_breaker| {
        let mut config = config(directory.path(), &receiver.url("/"));
        orders(&mut config).retry = every(Duration::from_secs(3600), 5);
        orders(&mut config).breaker.enabled = Some(has_breaker);
        orders(&mut config).breaker.failures = Some(1);
        TestRelay::start_in(Arc::clone(&directory), config, None)
    };
    let mut relay = start(true);
    event_id(&relay.client.hook("1", b"{}"));
    let probe_at = |relay: &TestRelay| -> Option<i64> {
        relay
            .sqlite()
            .query_row("SELECT probe_at FROM destinations", [], |row| row.get(0))
            .expect("a destination")
    };
    until("it is broken", || probe_at(&relay));
    relay.stop();
    let mut relay = start(false);
    until("nothing is left of it", || {
        probe_at(&relay).is_none().then_some(())
    });
    relay.stop();
}

/// `relay` on a running relay's database.
fn command(relay: &TestRelay, args: &[&str]) -> String {
    let path = relay.directory.path();
    std::fs::write(
        path.join("relay.toml"),
        "[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n",
    )
    .expect("writing relay.toml");
    let output = Process::command(path)
        .args(args)
        .output()
        .expect("the binary runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn gone_for_good_pauses_a_destination_until_somebody_resumes_it() {
    let is_gone = Arc::new(AtomicBool::new(true));
    let receiver = {
        let is_gone = Arc::clone(&is_gone);
        Receiver::start(move |_| {
            Answer::status(if is_gone.load(Ordering::SeqCst) {
                410
            } else {
                200
            })
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let first = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &first, "dead_lettered");
    assert_eq!(event["attempts"], 1);
    let held = event_id(&relay.client.hook("2", b"{}"));
    let event = relay.client.get(&format!("/events/{held}")).json();
    assert_eq!(event["status"], "queued");
    assert_eq!(
        event["status_description"],
        "Waits until orders is resumed; it is paused: it answered 410 Gone."
    );
    // One URL of many behind an origin says nothing about the others.
    let gone = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/gone"), "{}")),
    );
    relay_with_status(&relay.client, &gone, "failed");
    is_gone.store(false, Ordering::SeqCst);
    let other = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/other"), "{}")),
    );
    relay_with_status(&relay.client, &other, "delivered");

    assert_eq!(
        command(&relay, &["resume", "orders"]),
        "orders is resumed\n"
    );
    event_with_status(&relay.client, &held, "delivered");
    assert_eq!(command(&relay, &["replay", &first]), "replayed 1\n");
    event_with_status(&relay.client, &first, "delivered");
}

#[test]
fn a_hold_that_ends_lets_no_more_go_than_the_rate() {
    let arrivals = Arc::new(AtomicUsize::new(0));
    let receiver = {
        let arrivals = Arc::clone(&arrivals);
        Receiver::start(move |_| match arrivals.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::status(429).header("Retry-After", "60"),
            _ => Answer::status(200),
        })
    };
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), &receiver.url("/"));
    orders(&mut config).retry = every(Duration::from_secs(1), 5);
    orders(&mut config).rate_limit = Some(RateLimit {
        per_second: 1.0,
        burst: 50,
    });
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let first = event_id(&relay.client.hook("0", b"{}"));
    event_with_status(&relay.client, &first, "retrying");
    for key in 1..20 {
        relay.client.hook(&key.to_string(), b"{}");
    }
    assert_eq!(arrivals.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(60));
    // Held for a minute, its bucket would be full: fifty could go at once. One a second does.
    let mut seconds = 0;
    until("all have arrived", || {
        let arrived = arrivals.load(Ordering::SeqCst);
        assert!(arrived <= 1 + seconds, "{arrived} within {seconds} s");
        clock.advance(Duration::from_secs(1));
        seconds += 1;
        (arrived == 1 + 20).then_some(())
    });
}

/// Serves each connection with what `script` does to it.
fn raw_receiver(script: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    format!("http://{address}/")
}

/// Reads a request's head, and about its body; then writes `head`, and `part` again and again.
fn dripping(
    head: &'static [u8],
    part: &'static [u8],
    pause: Duration,
) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(head);
        while stream.write_all(part).is_ok() {
            std::thread::park_timeout(pause);
        }
    }
}

fn saying(answer: &'static [u8]) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    }
}

#[test]
fn receivers_that_misbehave_keep_no_worker_and_nothing_else_waiting() {
    const SLOW: Duration = Duration::from_millis(20);
    const FAST: Duration = Duration::ZERO;
    let chunk: &'static [u8] = Box::leak(
        [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"]
            .concat()
            .into_boxed_slice(),
    );
    let large: &'static [u8] = Box::leak(
        [
            b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
            &vec![b'x'; 200_000],
            b"\r\n\r\n",
        ]
        .concat()
        .into_boxed_slice(),
    );
    let scenes: Vec<(&str, String, &str, &str)> = vec![
        (
            "nothing",
            raw_receiver(|stream| {
                std::thread::park_timeout(Duration::from_secs(120));
                drop(stream);
            }),
            "retrying",
            "timeout",
        ),
        (
            "a handshake that never ends",
            raw_receiver(|stream| {
                std::thread::park_timeout(Duration::from_secs(120));
                drop(stream);
            })
            .replace("http://", "https://"),
            "retrying",
            "timeout",
        ),
        (
            "headers that drip",
            raw_receiver(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x", SLOW)),
            "retrying",
            "timeout",
        ),
        (
            "a body that drips",
            raw_receiver(dripping(
                b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
                b"x",
                SLOW,
            )),
            "retrying",
            "timeout",
        ),
        (
            "endless 1xx",
            raw_receiver(dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", SLOW)),
            "retrying",
            "timeout",
        ),
        (
            "an endless body",
            raw_receiver(dripping(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk,
                FAST,
            )),
            "delivered",
            "",
        ),
        (
            "an endless refusal",
            raw_receiver(dripping(
                b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk,
                FAST,
            )),
            "retrying",
            "status",
        ),
        (
            "broken chunks",
            raw_receiver(saying(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            )),
            "retrying",
            "protocol",
        ),
        (
            "an early end",
            raw_receiver(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")),
            "retrying",
            "",
        ),
        ("no answer", raw_receiver(saying(b"")), "retrying", ""),
        (
            "garbage",
            raw_receiver(saying(b"\x16\x03\x01\x02\x00 not HTTP at all\r\n\r\n")),
            "retrying",
            "protocol",
        ),
        (
            "200 KB of headers",
            raw_receiver(saying(large)),
            "retrying",
            "",
        ),
        (
            "a switch of protocols",
            raw_receiver(saying(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\n",
            )),
            "retrying",
            "",
        ),
        (
            "a body that isn't HTTP/1",
            raw_receiver(saying(b"HTTP/2.0 200 OK\r\n\r\n")),
            "retrying",
            "",
        ),
    ];
    let good = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&good.url("/"), |config| {
        // One worker: whoever keeps it keeps everything.
        config.delivery.workers = 1;
        config.delivery.timeout = Duration::from_millis(400);
        config.delivery.connect_timeout = Duration::from_millis(400);
        config.delivery.defaults.retry = every(Duration::from_secs(3600), 3);
        for (at, (_, url, _, _)) in scenes.iter().enumerate() {
            let name = format!("bad{at}");
            config
                .destinations
                .insert(name.clone(), Destination::new(url.parse().expect("a URL")));
            config.sources.insert(name.clone(), Source::to([name]));
        }
    });
    for (at, (what, _, status, failure)) in scenes.iter().enumerate() {
        let path = format!("/webhooks/bad{at}");
        let id = event_id(
            &relay
                .client
                .send("POST", &path, &[("Idempotency-Key", "1")], b"{}"),
        );
        let next = event_id(&relay.client.hook(&format!("after {at}"), b"{}"));
        let event = event_with_status(&relay.client, &id, status);
        event_with_status(&relay.client, &next, "delivered");
        let entry = &event["deliveries"][0]["history"][0];
        // Far beyond its timeout would mean that nothing bounds it.
        assert!(
            entry["duration_ms"]
                .as_u64()
                .is_some_and(|took| took < 10_000),
            "{what}: {entry}"
        );
        assert!(
            entry["response"]
                .as_str()
                .is_none_or(|kept| kept.len() <= 4096),
            "{what}"
        );
        let kind: Option<String> = relay
            .sqlite()
            .query_row(
                "SELECT a.failure FROM attempts a JOIN destinations t ON t.id = a.destination_id WHERE t.name = ?1",
                [format!("bad{at}")],
                |row| row.get(0),
            )
            .expect("an attempt");
        if !failure.is_empty() {
            assert_eq!(kind.as_deref(), Some(*failure), "{what}: {entry}");
        }
    }
}

#[test]
fn the_history_says_what_the_time_went_into_and_what_follows() {
    let receiver = Receiver::start(|_| Answer::status(503).body("closed for lunch"));
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        orders(config).retry = every(Duration::from_secs(3600), 1);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "retrying");
    let shown = command(&relay, &["show", "--json", &id]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let delivery = &shown["deliveries"][0];
    let entry = &delivery["history"][0];
    assert_eq!(entry["failure"], "status");
    assert_eq!(entry["address"], "127.0.0.1");
    for phase in ["resolve_ms", "connect_ms", "first_byte_ms"] {
        assert!(entry[phase].is_u64(), "{phase} in {entry}");
    }
    let next = entry["next"].as_str().expect("what follows");
    assert!(
        next.starts_with("attempt 2 at ") && next.ends_with("(schedule)"),
        "{next}"
    );
    assert!(
        delivery["waits_for"]
            .as_str()
            .is_some_and(|says| says.contains("for attempt 2 to orders"))
    );
    let text = command(&relay, &["show", &id]);
    assert!(
        text.contains("transient (503)") && text.contains("it said: closed for lunch"),
        "{text}"
    );
}

/// A certificate authority's PEM, and a server's certificate for 127.0.0.1 with its key.
fn certificates() -> (String, rustls::ServerConfig) {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_pem = authority
        .self_signed(&authority_key)
        .expect("a certificate")
        .pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = server.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a certificate and its key");
    (authority_pem, config)
}

#[test]
fn a_destination_is_trusted_by_its_own_authority_and_by_no_other() {
    let (authority, server) = certificates();
    let (server, answered) = (Arc::new(server), Arc::new(Mutex::new(0)));
    let url = {
        let answered = Arc::clone(&answered);
        raw_receiver(move |stream| {
            let connection =
                rustls::ServerConnection::new(Arc::clone(&server)).expect("a connection");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            // Who doesn't trust us goes away in the handshake.
            if tls.read(&mut request).is_ok_and(|read| read > 0) {
                *answered.lock().expect("no panic") += 1;
                let _ = tls.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
                let _ = tls.flush();
            }
        })
        .replace("http://", "https://")
    };
    let pem = tempfile::tempdir().expect("a temporary directory");
    let path = pem.path().join("authority.pem");
    std::fs::write(&path, authority).expect("writing it");
    let relay = TestRelay::start_with(&url, |config| {
        orders(config).retry = every(Duration::from_secs(3600), 1);
        let mut trusting = orders(config).clone();
        trusting.ca_file = Some(path);
        config.destinations.insert("private".to_owned(), trusting);
        config
            .sources
            .insert("private".to_owned(), Source::to(["private"]));
    });
    let distrusted = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &distrusted, "retrying");
    let error = event["last_error"].as_str().expect("an error");
    assert!(error.contains("certificate"), "{error}");
    let kind: String = relay
        .sqlite()
        .query_row("SELECT failure FROM attempts", [], |row| row.get(0))
        .expect("an attempt");
    assert_eq!(kind, "tls");
    assert_eq!(*answered.lock().expect("no panic"), 0);
    let trusted = relay.client.send(
        "POST",
        "/webhooks/private",
        &[("Idempotency-Key", "1")],
        b"{}",
    );
    event_with_status(&relay.client, &event_id(&trusted), "delivered");
    assert_eq!(*answered.lock().expect("no panic"), 1);
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[test]
fn a_clock_that_is_set_while_running_neither_hurries_nor_delays() {
    for jump in [YEAR * 10, Duration::from_secs(7200)] {
        for is_ahead in [true, false] {
            let failures = Arc::new(AtomicUsize::new(1));
            let receiver = {
                let failures = Arc::clone(&failures);
                Receiver::start(move |_| {
                    let fails = failures
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok();
                    Answer::status(if fails { 500 } else { 200 })
                })
            };
            let clock = Arc::new(FakeClock::at(START));
            let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
            let mut config = config(directory.path(), &receiver.url("/"));
            orders(&mut config).retry = every(Duration::from_secs(600), 3);
            let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
            let id = event_id(&relay.client.hook("1", b"{}"));
            event_with_status(&relay.client, &id, "retrying");

            clock.set_wall(if is_ahead {
                START.plus(jump)
            } else {
                START.minus(jump)
            });
            // Signed for a receiver that knows the new time, but no sooner than it was said.
            clock.advance(Duration::from_secs(560));
            let event = relay.client.get(&format!("/events/{id}")).json();
            assert_eq!(event["status"], "retrying", "{jump:?} {is_ahead}");
            // A key is still known, too.
            assert_eq!(relay.client.hook("1", b"{}").json()["status"], "duplicate");
            // Within 5 % it is there.
            clock.advance(Duration::from_secs(75));
            event_with_status(&relay.client, &id, "delivered");
            let wall: i64 = clock.wall().as_seconds();
            receiver.next();
            let signed_at: i64 = receiver
                .next()
                .header("webhook-timestamp")
                .parse()
                .expect("a number");
            assert_eq!(signed_at, wall, "the receiver's time");
        }
    }
}

#[test]
fn what_was_written_while_the_clock_was_years_ahead_does_not_wait_for_years() {
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_well = Arc::clone(&is_well);
        Receiver::start(move |_| {
            if is_well.load(Ordering::SeqCst) {
                Answer::status(200)
            } else {
                Answer::status(503).header("Retry-After", "3600")
            }
        })
    };
    for keeps_the_lock_file in [true, false] {
        is_well.store(false, Ordering::SeqCst);
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let start = |level: Option<relay::model::Level>, clock: &Arc<FakeClock>| {
            let mut config = config(directory.path(), &receiver.url("/"));
            config.delivery.level = level;
            TestRelay::start_in(Arc::clone(&directory), config, Some(Arc::clone(clock)))
        };
        let ahead = Arc::new(FakeClock::at(START.plus(YEAR * 10)));
        // One is held for an hour by its receiver, and one was never attempted.
        let mut relay = start(None, &ahead);
        let held = event_id(&relay.client.hook("1", b"{}"));
        event_with_status(&relay.client, &held, "retrying");
        relay.stop();
        drop(relay);
        let mut relay = start(Some(relay::model::Level::Off), &ahead);
        let to = relay_to(&receiver.url("/"), "{}");
        let queued = relay_id(&relay.client.create(&[], &to));
        relay.stop();
        drop(relay);

        is_well.store(true, Ordering::SeqCst);
        // Without it relay doesn't know how far it had come.
        if !keeps_the_lock_file {
            std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
        }
        let right = Arc::new(FakeClock::at(START));
        let relay = start(None, &right);
        relay_with_status(&relay.client, &queued, "delivered");
        let event = relay.client.get(&format!("/events/{held}")).json();
        assert_eq!(event["status"], "retrying");
        // Otherwise for no longer than anything may: a day, by the default schedule with its jitter.
        right.advance(Duration::from_secs(if keeps_the_lock_file {
            3800
        } else {
            29 * 3600
        }));
        event_with_status(&relay.client, &held, "delivered");
    }
}

#[test]
fn receivers_that_never_stop_sending_take_no_memory() {
    let chunk: &'static [u8] = Box::leak(
        [b"10000\r\n".as_slice(), &vec![b'x'; 1 << 16], b"\r\n"]
            .concat()
            .into_boxed_slice(),
    );
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = [
        raw_receiver(dripping(head, chunk, Duration::ZERO)),
        raw_receiver(dripping(
            b"HTTP/1.1 200 OK\r\n",
            b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            Duration::ZERO,
        )),
        raw_receiver(dripping(
            b"",
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            Duration::ZERO,
        )),
        raw_receiver(dripping(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            Duration::ZERO,
        )),
    ];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut toml =
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = 0\n\
         [delivery]\nworkers = 16\ntimeout = '300ms'\nconnect_timeout = '300ms'\n\
         [delivery.defaults]\nretry = { schedule = ['10ms', '10ms'] }\n\
         breaker = { enabled = false }\n"
            .to_owned();
    for (at, url) in endless.iter().enumerate() {
        let _ = write!(
            toml,
            "[destinations.bad{at}]\nurl = '{url}'\n[sources.bad{at}]\ndestinations = ['bad{at}']\n"
        );
    }
    let process = Process::serve(directory.path(), &toml);
    let send = |round: u32| -> Vec<String> {
        (0..endless.len())
            .flat_map(|at| (0..4).map(move |key| (at, key)))
            .map(|(at, key)| {
                let path = format!("/webhooks/bad{at}");
                let key = format!("{round} {key}");
                let reply = process
                    .client
                    .send("POST", &path, &[("Idempotency-Key", &key)], b"{}");
                event_id(&reply)
            })
            .collect()
    };
    let ended = |ids: Vec<String>| {
        for id in ids {
            until("it is settled for good", || {
                let event = process.client.get(&format!("/events/{id}")).json();
                (event["status"] == "dead_lettered" || event["status"] == "delivered").then_some(())
            });
        }
    };
    // Threads, buffers and caches are there after the first round.
    ended(send(0));
    let before = process.resident();
    ended(send(1));
    let grown = process.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "grew by {} KiB", grown >> 10);
}
