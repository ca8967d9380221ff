//! Answers before the end of the request, large response headers, and redirects.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay::config::{Destination, RetrySettings, Source};
use serde_json::Value;

use crate::support::certificates::self_signed;
use crate::support::raw::{
    answer, read_bytes, read_head, receiver, wait_for_close_without_reading,
};
use crate::support::{TestRelay, event_id, event_with_status, outcomes, until};

/// Bytes of a body that is larger than the buffers of a socket.
const LARGE: usize = 20 << 20;

/// A relay that sends to `url` and makes three attempts at most.
pub fn relay_to(url: &str, change: impl FnOnce(&mut Destination)) -> TestRelay {
    TestRelay::start_with(url, |config| {
        let mut source = Source::to(["orders"]);
        source.max_body_bytes = Some(2 * LARGE as u64);
        config.sources.insert("github".to_owned(), source);
        let orders = config.destinations.get_mut("orders").expect("it is there");
        orders.retry = RetrySettings {
            schedule: Some(vec![Duration::from_millis(1); 2]),
            jitter: Some(0.0),
            ..RetrySettings::default()
        };
        change(orders);
    })
}

/// Posts an event with a body of `bytes` bytes, and waits until it has `status`.
fn post_and_wait(relay: &TestRelay, bytes: usize, status: &str) -> Value {
    let body = format!("\"{}\"", "x".repeat(bytes - 2));
    let id = event_id(&relay.client.hook("1", body.as_bytes()));
    event_with_status(&relay.client, &id, status)
}

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";

#[derive(Clone, Copy, Debug)]
enum Early {
    /// Reads the headers and `after` bytes of the body, answers and closes. The unread bytes reset
    /// the connection.
    Closes { after: usize },
    /// As `Closes`, with a reset instead of an orderly end.
    Resets,
    /// Answers before it reads anything, and closes.
    ClosesUnread,
    /// Keeps the connection open without reading from it.
    Stays,
}

#[test]
fn an_answer_before_the_body_was_sent_counts_by_its_status() {
    let all = [
        Early::Closes { after: 0 },
        Early::Closes { after: 1 << 20 },
        Early::Resets,
        Early::ClosesUnread,
        Early::Stays,
    ];
    for is_tls in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let own = self_signed("127.0.0.1", |_| {});
        let pem = own.write(directory.path());
        for how in all {
            if is_tls && matches!(how, Early::ClosesUnread) {
                // Without reading there is no TLS handshake.
                continue;
            }
            let connections = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&connections);
            let url = receiver(is_tls.then(|| own.server()), move |stream, socket| {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Early::ClosesUnread = how {
                    // Waits for the first byte of the request, so that there is one to answer.
                    socket.peek(&mut [0]).expect("a request");
                } else {
                    read_head(stream).expect("a request");
                }
                if let Early::Closes { after } = how {
                    read_bytes(stream, after);
                }
                answer(stream, TOO_LARGE);
                match how {
                    Early::Resets => {
                        let at_once = Some(Duration::ZERO);
                        rustix::net::sockopt::set_socket_linger(socket, at_once).expect("a socket");
                    }
                    Early::Stays => wait_for_close_without_reading(socket),
                    _ => {}
                }
            });
            let relay = relay_to(&url, |orders| {
                orders.ca_file = is_tls.then(|| pem.clone());
                orders.timeout = Some(Duration::from_secs(30));
            });
            let event = post_and_wait(&relay, LARGE, "dead_lettered");
            let history = &event["deliveries"][0]["history"];
            let what = format!("{how:?}, tls: {is_tls}: {history}");
            let entry = &history[0];
            assert_eq!(outcomes(&event), ["permanent"], "{what}");
            assert_eq!(entry["status_code"], 413, "{what}");
            assert_eq!(entry["error"], "answered 413 Payload Too Large", "{what}");
            assert_eq!(entry["response"], "big", "{what}");
            assert_eq!(connections.load(Ordering::SeqCst), 1, "{what}");
        }
    }
}

#[test]
fn a_receiver_that_answers_2xx_early_and_reads_on_gets_the_whole_body() {
    let (arrived, arrivals) = channel();
    let arrived = Mutex::new(arrived);
    let url = receiver(None, move |stream, _| {
        let read = read_head(stream).expect("a request");
        let head = read.windows(4).position(|four| four == b"\r\n\r\n");
        let begun = read.len() - head.expect("an end") - 4;
        answer(stream, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        // The body is larger than all buffers, so it arrives only if the relay goes on sending.
        let all = begun + read_bytes(stream, LARGE - begun);
        let _ = arrived.lock().expect("no panic").send(all);
    });
    let relay = relay_to(&url, |_| {});
    let event = post_and_wait(&relay, LARGE, "delivered");
    assert_eq!(outcomes(&event), ["delivered"]);
    let patience = Duration::from_secs(60);
    assert_eq!(arrivals.recv_timeout(patience), Ok(LARGE));
}

#[test]
fn a_2xx_before_the_body_was_sent_is_a_delivery_although_the_rest_is_not_read() {
    for stays in [true, false] {
        let url = receiver(None, move |stream, socket| {
            read_head(stream).expect("a request");
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            if stays {
                wait_for_close_without_reading(socket);
            }
        });
        let relay = relay_to(&url, |orders| {
            orders.timeout = Some(Duration::from_secs(30));
        });
        let event = post_and_wait(&relay, LARGE, "delivered");
        assert_eq!(outcomes(&event), ["delivered"], "stays: {stays}");
    }
}

#[test]
fn a_connection_is_reused_after_a_whole_answer_that_lets_it_stay_open() {
    let large = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{}",
        "x".repeat(99_999)
    );
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            1,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", 1),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            2,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", 2),
        (&large, 2),
    ];
    for (text, expected) in cases {
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, text) = (Arc::clone(&connections), text.to_owned());
        let shown = text[..text.len().min(80)].to_owned();
        let url = receiver(None, move |stream, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            while read_head(stream).is_some() {
                answer(stream, &text);
            }
        });
        let relay = relay_to(&url, |_| {});
        for key in ["1", "2"] {
            let id = event_id(&relay.client.hook(key, b"{}"));
            until("it is settled", || {
                let event = relay.client.get(&format!("/events/{id}")).json();
                let is_over = event["status"] == "delivered" || event["status"] == "dead_lettered";
                is_over.then_some(())
            });
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{shown}");
    }
}

#[test]
fn a_request_with_a_long_line_has_a_connection_of_its_own() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let url = receiver(None, move |stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_head(stream).is_some() {
            answer(stream, "HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let relay = relay_to(&url, |_| {});
    // Longer than the buffers of a connection that waits for its next request.
    let line = "x".repeat(20_000);
    for (key, value) in [("1", "push"), ("2", &line), ("3", "push")] {
        let headers = [("Idempotency-Key", key), ("X-GitHub-Hook-Note", value)];
        let reply = relay
            .client
            .send("POST", "/webhooks/github", &headers, b"{}");
        let event = event_with_status(&relay.client, &event_id(&reply), "delivered");
        assert_eq!(outcomes(&event), ["delivered"]);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_connection_with_a_truncated_request_is_not_reused() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let url = receiver(None, move |stream, socket| {
        // Refuses on the first connection and keeps it open; reads everything on later ones.
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            read_head(stream).expect("a request");
            answer(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
            wait_for_close_without_reading(socket);
        } else {
            let read = read_head(stream).expect("a request");
            let head = read.windows(4).position(|four| four == b"\r\n\r\n");
            let begun = read.len() - head.expect("an end") - 4;
            read_bytes(stream, LARGE - begun);
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            wait_for_close_without_reading(socket);
        }
    });
    let relay = relay_to(&url, |orders| {
        orders.timeout = Some(Duration::from_secs(30));
    });
    let event = post_and_wait(&relay, LARGE, "delivered");
    assert_eq!(outcomes(&event), ["transient", "delivered"]);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_connection_closed_without_an_answer_is_a_transient_failure() {
    let url = receiver(None, |stream, _| {
        read_head(stream).expect("a request");
    });
    let relay = relay_to(&url, |_| {});
    let event = post_and_wait(&relay, LARGE, "dead_lettered");
    let error = event["last_error"].as_str().expect("an error");
    assert_eq!(outcomes(&event), ["transient"; 3], "{error}");
    let words = ["connection reset", "the connection ended before the answer"];
    assert!(words.contains(&error), "{error}");
}

#[test]
fn a_2xx_whose_body_breaks_off_is_a_transient_failure_that_tells_the_status() {
    for (body, failure, words) in [
        (
            "Content-Length: 10\r\n\r\nhal",
            "reset",
            "answered 200 OK, but its body ended early",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            "protocol",
            "answered 200 OK, but its body can't be read: ",
        ),
    ] {
        let url = receiver(None, move |stream, _| {
            if read_head(stream).is_some() {
                answer(stream, &format!("HTTP/1.1 200 OK\r\n{body}"));
            }
        });
        let relay = relay_to(&url, |_| {});
        let event = post_and_wait(&relay, 2, "dead_lettered");
        assert_eq!(outcomes(&event), ["transient"; 3]);
        let entry = &event["deliveries"][0]["history"][0];
        let error = entry["error"].as_str().expect("an error");
        assert!(error.starts_with(words), "{error}");
        assert_eq!(entry["status_code"], 200);
        let kind: String = relay.peek("SELECT min(failure) FROM attempts");
        assert_eq!(kind, failure);
    }
}

/// An answer whose headers have `bytes` bytes, in lines of about `line` bytes.
fn with_headers(bytes: usize, line: usize) -> String {
    let mut headers = "Content-Length: 2\r\n".to_owned();
    let end = "\r\n".len();
    while headers.len() + end < bytes {
        let left = bytes - end - headers.len();
        // The last line takes the rest, so that no line is too short to write.
        let length = if left < 2 * line { left } else { line };
        let filler = "x".repeat(length - "x-a: \r\n".len());
        write!(headers, "x-a: {filler}\r\n").expect("a String takes all");
    }
    assert_eq!(headers.len() + end, bytes);
    format!("HTTP/1.1 200 OK\r\n{headers}\r\nok")
}

#[test]
fn an_answer_with_64_kib_of_headers_is_read() {
    for (bytes, line) in [(20_000, 4_000), (65_536, 8_000), (65_536, 20), (8_000, 40)] {
        let (head, connections) = (with_headers(bytes, line), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        let url = receiver(None, move |stream, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            while read_head(stream).is_some() {
                answer(stream, &head);
            }
        });
        let relay = relay_to(&url, |_| {});
        for key in ["1", "2"] {
            let id = event_id(&relay.client.hook(key, b"{}"));
            let event = event_with_status(&relay.client, &id, "delivered");
            let entry = &event["deliveries"][0]["history"][0];
            assert_eq!(outcomes(&event), ["delivered"], "{bytes} {line}");
            assert_eq!(entry["response"], "ok", "the body after it is read, too");
        }
        let used = connections.load(Ordering::SeqCst);
        assert_eq!(used, 1, "the connection is used again");
    }
}

#[test]
fn larger_headers_are_retried_once_and_then_dead_lettered_with_the_reason() {
    let head = with_headers(70_000, 1_000);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let url = receiver(None, move |stream, _| {
        if read_head(stream).is_none() {
            return;
        }
        // Another failure in between doesn't reset the count.
        if counted.fetch_add(1, Ordering::SeqCst) == 1 {
            answer(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        } else {
            answer(stream, &head);
        }
    });
    let relay = relay_to(&url, |orders| {
        orders.retry.schedule = Some(vec![Duration::from_millis(1); 9]);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    assert_eq!(outcomes(&event), ["transient", "transient", "permanent"]);
    let reason = "response_headers_too_large: it answered 200 with more than 64 KiB of headers";
    assert_eq!(event["last_error"], reason);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    // A replay renews this budget, too.
    let running = relay.relay.as_ref().expect("running");
    assert_eq!(running.replay(&id).expect("a replay"), 1);
    until("it is given up again", || {
        let event = event_with_status(&relay.client, &id, "dead_lettered");
        (outcomes(&event).len() == 6).then_some(())
    });
    assert_eq!(requests.load(Ordering::SeqCst), 5);
    let kinds: Vec<Option<String>> = relay.peek_rows("SELECT failure FROM attempts ORDER BY entry");
    assert_eq!(kinds[2].as_deref(), Some("response_headers_too_large"));
}

#[test]
fn the_error_of_a_redirect_names_its_target_without_credentials() {
    let url = receiver(None, |stream, _| {
        read_head(stream);
        answer(
            stream,
            "HTTP/1.1 301 Moved\r\nLocation: https://u:pw@hooks.example.com/in/?k=secret\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let relay = relay_to(&url, |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    assert_eq!(
        event["last_error"],
        "answered 301 Moved Permanently to https://hooks.example.com/in/?…"
    );
}
