//! Misbehaving receivers: they block no worker, delay no other destination, and take no memory.

use std::fmt::Write as _;
use std::time::Duration;

use relay::config::{Destination, Source};

use crate::support::raw::{dripping, raw_receiver, saying};
use crate::support::{
    Answer, Process, Receiver, TestRelay, event_id, event_with_status, every, until,
};

#[test]
fn misbehaving_receivers_block_no_worker_and_delay_no_other_destination() {
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
        // With one worker, a receiver that keeps it blocks everything.
        config.delivery.workers = 1;
        config.delivery.timeout = Duration::from_millis(400);
        config.delivery.connect_timeout = Some(Duration::from_millis(400));
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
        // A time far beyond the timeout would mean that the attempt has no bound.
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
        let kind: Option<String> = relay.peek(&format!(
            "SELECT a.failure FROM attempts a JOIN destinations t ON t.id = a.destination_id
             WHERE t.name = 'bad{at}'"
        ));
        if !failure.is_empty() {
            assert_eq!(kind.as_deref(), Some(*failure), "{what}: {entry}");
        }
    }
}

#[test]
fn endless_responses_take_no_memory() {
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
    // The first round creates threads, buffers and caches.
    ended(send(0));
    let before = process.resident();
    ended(send(1));
    let grown = process.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "grew by {} KiB", grown >> 10);
}
