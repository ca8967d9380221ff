//! Answers that come early, have large headers or lead elsewhere; and certificates.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay::config::{Destination, RetrySettings, Source};
use serde_json::{Value, json};

use crate::support::{TestRelay, event_id, event_with_status, outcomes, until};

/// A body that no socket's buffers hold.
const LARGE: usize = 20 << 20;

/// A stream that may be in TLS.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

type Script = dyn Fn(&mut dyn Stream, &TcpStream) + Send + Sync;

/// Serves each connection with what `script` does to it, in TLS if there is a configuration for it.
/// The second argument is the socket underneath.
fn receiver(
    tls: Option<rustls::ServerConfig>,
    script: impl Fn(&mut dyn Stream, &TcpStream) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (tls, script): (_, Arc<Script>) = (tls.map(Arc::new), Arc::new(script));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An answer that the kernel holds back to send it with more is lost in a reset.
            stream.set_nodelay(true).expect("a socket");
            let (tls, script) = (tls.clone(), Arc::clone(&script));
            std::thread::spawn(move || {
                let socket = stream.try_clone().expect("a descriptor");
                if let Some(tls) = tls {
                    let connection = rustls::ServerConnection::new(tls).expect("a connection");
                    script(&mut rustls::StreamOwned::new(connection, stream), &socket);
                } else {
                    let mut stream = stream;
                    script(&mut stream, &socket);
                }
            });
        }
    });
    format!("{scheme}://{address}/")
}

/// Reads up to the end of a request's headers, and whatever comes along; none if there are none.
fn read_head(stream: &mut dyn Stream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(bytes @ 1..) => read.extend_from_slice(&piece[..bytes]),
            _ => return None,
        }
    }
    Some(read)
}

/// Reads so many bytes, if they come.
fn read_bytes(stream: &mut dyn Stream, bytes: usize) -> usize {
    let mut piece = vec![0; 64 * 1024];
    let mut all = 0;
    while all < bytes {
        match stream.read(&mut piece) {
            Ok(read @ 1..) => all += read,
            _ => break,
        }
    }
    all
}

fn answer(stream: &mut dyn Stream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

/// A relay that sends to `url`, and tries three times at most.
fn relay_to(url: &str, change: impl FnOnce(&mut Destination)) -> TestRelay {
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

/// An event whose body is that large, once it has this status.
fn sent(relay: &TestRelay, bytes: usize, status: &str) -> Value {
    let body = format!("\"{}\"", "x".repeat(bytes - 2));
    let id = event_id(&relay.client.hook("1", body.as_bytes()));
    event_with_status(&relay.client, &id, status)
}

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";

#[derive(Clone, Copy, Debug)]
enum Early {
    /// Reads the headers and some bytes of the body, answers and closes: with bytes unread, which
    /// resets the connection.
    Closes { after: usize },
    /// The same, but with a reset instead of an end.
    Resets,
    /// Answers before it reads anything, and closes.
    ClosesUnread,
    /// Stays, and reads no more.
    Stays,
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_counts_by_its_status() {
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
                // Not even a handshake.
                continue;
            }
            let connections = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&connections);
            let url = receiver(is_tls.then(|| own.server()), move |stream, socket| {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Early::ClosesUnread = how {
                    // The request has begun to arrive, or there would be nothing to answer.
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
                    Early::Stays => stay_unread(socket),
                    _ => {}
                }
            });
            let relay = relay_to(&url, |orders| {
                orders.ca_file = is_tls.then(|| pem.clone());
                orders.timeout = Some(Duration::from_secs(30));
            });
            let event = sent(&relay, LARGE, "dead_lettered");
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

/// Waits until the other side is gone, without reading what it sends.
fn stay_unread(socket: &TcpStream) {
    let mut polled = [rustix::event::PollFd::new(
        socket,
        rustix::event::PollFlags::RDHUP,
    )];
    let _ = rustix::event::poll(&mut polled, None);
}

#[test]
fn a_receiver_that_accepts_early_still_gets_the_whole_body_if_it_reads_it() {
    let (arrived, arrivals) = channel();
    let arrived = Mutex::new(arrived);
    let url = receiver(None, move |stream, _| {
        let read = read_head(stream).expect("a request");
        let head = read.windows(4).position(|four| four == b"\r\n\r\n");
        let begun = read.len() - head.expect("an end") - 4;
        answer(stream, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        // Longer than anything is buffered.
        let all = begun + read_bytes(stream, LARGE - begun);
        let _ = arrived.lock().expect("no panic").send(all);
    });
    let relay = relay_to(&url, |_| {});
    let event = sent(&relay, LARGE, "delivered");
    assert_eq!(outcomes(&event), ["delivered"]);
    let patience = Duration::from_secs(60);
    assert_eq!(arrivals.recv_timeout(patience), Ok(LARGE));
}

#[test]
fn a_receiver_that_accepts_early_and_reads_no_more_has_accepted() {
    for stays in [true, false] {
        let url = receiver(None, move |stream, socket| {
            read_head(stream).expect("a request");
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            if stays {
                stay_unread(socket);
            }
        });
        let relay = relay_to(&url, |orders| {
            orders.timeout = Some(Duration::from_secs(30));
        });
        let event = sent(&relay, LARGE, "delivered");
        assert_eq!(outcomes(&event), ["delivered"], "stays: {stays}");
    }
}

#[test]
fn a_connection_whose_request_was_cut_short_is_not_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let url = receiver(None, move |stream, socket| {
        // The first is refused and stays; on the others everything arrives.
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            read_head(stream).expect("a request");
            answer(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
            stay_unread(socket);
        } else {
            let read = read_head(stream).expect("a request");
            let head = read.windows(4).position(|four| four == b"\r\n\r\n");
            let begun = read.len() - head.expect("an end") - 4;
            read_bytes(stream, LARGE - begun);
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            stay_unread(socket);
        }
    });
    let relay = relay_to(&url, |orders| {
        orders.timeout = Some(Duration::from_secs(30));
    });
    let event = sent(&relay, LARGE, "delivered");
    assert_eq!(outcomes(&event), ["transient", "delivered"]);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_receiver_that_closes_without_an_answer_is_still_a_reset() {
    let url = receiver(None, |stream, _| {
        read_head(stream).expect("a request");
    });
    let relay = relay_to(&url, |_| {});
    let event = sent(&relay, LARGE, "dead_lettered");
    let error = event["last_error"].as_str().expect("an error");
    assert_eq!(outcomes(&event), ["transient"; 3], "{error}");
    let words = ["connection reset", "the connection ended before the answer"];
    assert!(words.contains(&error), "{error}");
}

/// An answer with headers of so many bytes, in lines of about `line` bytes.
fn with_headers(bytes: usize, line: usize) -> String {
    let mut headers = "Content-Length: 2\r\n".to_owned();
    let end = "\r\n".len();
    while headers.len() + end < bytes {
        let left = bytes - end - headers.len();
        // The rest must be enough for a line.
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
fn larger_headers_are_tried_once_more_and_given_up_with_the_reason() {
    let head = with_headers(70_000, 1_000);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let url = receiver(None, move |stream, _| {
        if read_head(stream).is_none() {
            return;
        }
        // Another failure between them makes no difference.
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
    // A replay has a fresh budget, of this too.
    let running = relay.relay.as_ref().expect("running");
    assert_eq!(running.replay(&id).expect("a replay"), 1);
    until("it is given up again", || {
        let event = event_with_status(&relay.client, &id, "dead_lettered");
        (outcomes(&event).len() == 6).then_some(())
    });
    assert_eq!(requests.load(Ordering::SeqCst), 5);
    let kinds: Vec<Option<String>> = relay
        .sqlite()
        .prepare("SELECT failure FROM attempts ORDER BY entry")
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .expect("a history");
    assert_eq!(kinds[2].as_deref(), Some("response_headers_too_large"));
}

#[test]
fn a_redirect_says_where_it_leads() {
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

/// A certificate and its key.
struct Identity {
    params: rcgen::CertificateParams,
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Identity {
    /// A server that shows it.
    fn server(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(self.key.serialize_der());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key.expect("a key"))
            .expect("a certificate and its key")
    }

    /// Its file.
    fn write(&self, directory: &Path) -> std::path::PathBuf {
        let path = directory.join("certificate.pem");
        std::fs::write(&path, self.certificate.pem()).expect("writing it");
        path
    }
}

fn params(
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> rcgen::CertificateParams {
    let names = Vec::from_iter((!name.is_empty()).then(|| name.to_owned()));
    let mut params = rcgen::CertificateParams::new(names).expect("a name");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "ours");
    change(&mut params);
    params
}

/// One that signs itself, marked as an authority's as openssl marks it.
fn self_signed(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = params(name, change);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    signing_itself(params, key)
}

fn signing_itself(params: rcgen::CertificateParams, key: rcgen::KeyPair) -> Identity {
    let certificate = params.self_signed(&key).expect("a certificate");
    Identity {
        params,
        certificate,
        key,
    }
}

/// One that `authority` signs.
fn signed_by(
    authority: &Identity,
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let issuer = rcgen::Issuer::from_params(&authority.params, &authority.key);
    let params = params(name, change);
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    Identity {
        params,
        certificate,
        key,
    }
}

/// The result of an event to a server that shows `shown`, if `ca_file` holds `named`: the kind of the
/// failure, the error, and the number of requests that arrived.
fn tried(shown: &Identity, named: Option<&Identity>) -> (String, String, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let url = receiver(Some(shown.server()), move |stream, _| {
        if read_head(stream).is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let relay = relay_to(&url, |orders| {
        orders.ca_file = named.map(|named| named.write(directory.path()));
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = until("it is over", || {
        let event = relay.client.get(&format!("/events/{id}")).json();
        let status = event["status"].as_str()?;
        ["delivered", "dead_lettered"]
            .contains(&status)
            .then_some(event.clone())
    });
    let kind: Option<String> = relay
        .sqlite()
        .query_row("SELECT failure FROM attempts", [], |row| row.get(0))
        .expect("an attempt");
    let error = event["last_error"].as_str().unwrap_or_default().to_owned();
    (
        kind.unwrap_or_default(),
        error,
        requests.load(Ordering::SeqCst),
    )
}

#[test]
fn a_certificate_that_is_named_is_accepted_and_others_are_refused_in_plain_words() {
    let address = "127.0.0.1";
    let (own, other) = (self_signed(address, |_| {}), self_signed(address, |_| {}));
    let key = rcgen::KeyPair::generate().expect("a key");
    let not_an_authority = signing_itself(params(address, |_| {}), key);
    let named = |name: &'static str| {
        move |params: &mut rcgen::CertificateParams| {
            let names = &mut params.distinguished_name;
            names.push(rcgen::DnType::CommonName, name);
        }
    };
    let nameless = self_signed("", |_| {});
    let by_own = signed_by(&own, address, named("leaf"));
    for (what, shown, named) in [
        ("self-signed, and marked as an authority's", &own, &own),
        (
            "self-signed, and not so marked",
            &not_an_authority,
            &not_an_authority,
        ),
        ("self-signed without a name", &nameless, &nameless),
        ("signed by an authority", &by_own, &own),
    ] {
        let result = tried(shown, Some(named));
        assert_eq!(result, (String::new(), String::new(), 1), "{what}");
    }

    let expire = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 3, 4);
    };
    let begin_later = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(3001, 1, 1);
        params.not_after = rcgen::date_time_ymd(3002, 1, 1);
    };
    let expired = self_signed(address, expire);
    let later = self_signed(address, begin_later);
    let renamed = self_signed("hooks.example.com", |_| {});
    let signed_expired = signed_by(&own, address, expire);
    let signed_renamed = signed_by(&own, "hooks.example.com", |_| {});
    let by_stranger = signed_by(&self_signed("", named("theirs")), address, named("leaf"));
    let by_namesake = signed_by(&other, address, named("leaf"));
    for (shown, named, words) in [
        (
            &expired,
            Some(&expired),
            "the certificate expired on 2002-03-04T00:00:00.000Z",
        ),
        (
            &signed_expired,
            Some(&own),
            "the certificate expired on 2002-03-04T00:00:00.000Z",
        ),
        (
            &later,
            Some(&later),
            "the certificate is not valid before 3001-01-01T00:00:00.000Z",
        ),
        (
            &renamed,
            Some(&renamed),
            "the certificate is not for this host: the name 127.0.0.1 is not in it (it holds hooks.example.com)",
        ),
        (
            &signed_renamed,
            Some(&own),
            "the certificate is not for this host: the name 127.0.0.1 is not in it (it holds hooks.example.com)",
        ),
        (
            &other,
            Some(&own),
            "the certificate is self-signed (by \"ours\") and not trusted; the destination's ca_file names others",
        ),
        (
            &by_stranger,
            Some(&own),
            "the certificate is not trusted: its issuer \"theirs\" is unknown; the destination's ca_file names others",
        ),
        (
            &by_namesake,
            Some(&own),
            "the certificate is not trusted: its issuer \"ours\" has another key than the one known by that name; the destination's ca_file names others",
        ),
        (
            &own,
            None,
            "the certificate is self-signed (by \"ours\") and not trusted; to trust it, name it in the destination's ca_file",
        ),
        (
            &by_own,
            None,
            "the certificate is not trusted: its issuer \"ours\" is unknown; to trust it, name it in the destination's ca_file",
        ),
    ] {
        let result = tried(shown, named);
        assert_eq!(result, ("tls".to_owned(), words.to_owned(), 0));
    }
}

#[test]
fn a_receiver_that_does_not_speak_tls_is_told_from_one_that_is_not_trusted() {
    let plain = receiver(None, |stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        answer(
            stream,
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let relay = relay_to(&plain.replace("http:", "https:"), |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    let error = event["last_error"].as_str().expect("an error");
    assert!(error.contains("does the port speak plain HTTP?"), "{error}");
    assert_eq!(
        event["deliveries"][0]["history"][0]["status_code"],
        json!(null)
    );
}
