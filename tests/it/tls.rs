//! TLS at the listeners.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use relay::Config;

use crate::support::certificates::{Identity, params, signing_itself};
use crate::support::tls::{TlsClient, TlsConnection};
use crate::support::{Client, Process, TestRelay, event_id, off, until};

fn identity() -> Identity {
    identity_until(2099)
}

/// A certificate that expires at the end of this year.
fn identity_until(year: i32) -> Identity {
    let params = params("localhost", |params| {
        params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    });
    signing_itself(params, rcgen::KeyPair::generate().expect("a key"))
}

/// A relay whose public listener presents a certificate, and a client that trusts it.
fn start(own: &Identity, change: impl FnOnce(&mut Config)) -> (TestRelay, TlsClient) {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), crate::support::URL);
    off(&mut config);
    config.server.tls = Some(own.write_pair(directory.path()));
    change(&mut config);
    let relay = TestRelay::start_in(directory, config, None);
    let client = TlsClient::new(address(&relay), &[own]);
    (relay, client)
}

fn address(relay: &TestRelay) -> SocketAddr {
    relay.relay.as_ref().expect("a running relay").address()
}

/// The number of handshakes with the public listener that ended so.
fn handshakes(relay: &TestRelay, result: &str) -> u64 {
    count(&relay.admin(), "server", result)
}

fn count(admin: &Client, listener: &str, result: &str) -> u64 {
    let text = admin.send("GET", "/metrics", &[], b"").text();
    let start =
        format!("relay_tls_handshakes_total{{listener=\"{listener}\",result=\"{result}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.expect("a counter").parse().expect("a number")
}

fn presented(connection: &TlsConnection) -> Vec<u8> {
    let chain = connection.tls().peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

fn der(of: &Identity) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    CertificateDer::from_pem_slice(of.pem().as_bytes())
        .expect("a certificate")
        .to_vec()
}

/// Whether the peer has ended the connection, or does so within a minute.
fn ends(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    !ended.is_err_and(|error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        )
    })
}

#[test]
fn events_come_in_over_both_versions_of_tls_and_http_1_1() {
    let own = identity();
    let (relay, _) = start(&own, |_| {});
    let body = vec![b'7'; 200_000];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = TlsClient::speaking(address(&relay), &[&own], &[version]);
        let mut connection = client.offering(&["h2", "http/1.1"]).connect();
        assert_eq!(connection.tls().protocol_version(), Some(version.version));
        assert_eq!(connection.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        for key in ["one", "two"] {
            let key = format!("Idempotency-Key: {key}-{:?}\r\n", version.version);
            let headers = key + "Content-Type: application/json\r\n";
            connection.ask("POST", "/webhooks/github", &headers, &body);
            event_id(&connection.reply().expect("an answer"));
        }
    }
    assert_eq!(handshakes(&relay, "ok"), 2);
}

#[test]
fn a_client_without_protocols_is_served_and_one_for_http_2_alone_is_refused() {
    let own = identity();
    let (relay, client) = start(&own, |_| {});
    event_id(&client.hook("k", b"{}"));
    let refused = client.clone().offering(&["h2"]).try_connect();
    let refused = refused.err().expect("a refusal").to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(handshakes(&relay, "failed"), 1);
}

#[test]
fn a_request_without_tls_is_told_to_use_it() {
    let (relay, _) = start(&identity(), |_| {});
    for _ in 0..2 {
        let request = b"POST /webhooks/github HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let reply = Client::of(address(&relay)).raw(request);
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("speaks TLS"), "{}", reply.text());
    }
    assert_eq!(handshakes(&relay, "plain_http"), 2);
}

#[test]
fn a_handshake_has_the_time_of_the_headers_and_shares_it_with_them() {
    let own = identity();
    let (relay, client) = start(&own, |config| {
        config.server.header_timeout = Duration::from_millis(300);
    });
    // Silent from the beginning, and within the first record.
    for bytes in [&b""[..], &[0x16, 3, 1, 1, 0, 1], &[0x16]] {
        let mut stream = TcpStream::connect(address(&relay)).expect("somebody listens");
        stream.write_all(bytes).expect("it is open");
        assert!(ends(&mut stream), "{bytes:?}");
    }
    until("three are counted", || {
        (handshakes(&relay, "timed_out") == 3).then_some(())
    });
    // Silent after the handshake.
    let mut connection = client.connect();
    assert!(connection.reply().is_none());
}

#[test]
fn handshakes_make_room_for_other_connections() {
    let own = identity();
    let (relay, client) = start(&own, |config| config.server.max_connections = 4);
    let silent: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(address(&relay)).expect("somebody listens"))
        .collect();
    event_id(&client.hook("k", b"{}"));
    until("one is counted", || {
        (handshakes(&relay, "evicted") >= 1).then_some(())
    });
    drop(silent);
}

#[test]
fn hostile_handshakes_end_and_harm_nobody() {
    let own = identity();
    let (relay, client) = start(&own, |_| {});
    let open = client.connect();
    let hello = |length: usize| {
        let mut bytes = vec![0x16, 3, 1];
        bytes.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
        bytes.resize(5 + length, 0xff);
        bytes
    };
    for bytes in [
        // No TLS at all, a record of an unknown kind, one that is too long, a message of 16 MiB.
        b"\x00\x01\x02\x03\x04\x05\x06\x07".to_vec(),
        b"ssh-2.0\r\n\r\n\r\n".to_vec(),
        [0x17, 3, 3, 0, 1, 0].to_vec(),
        hello(0xffff),
        [&[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..], &hello(1000)].concat(),
        hello(200),
        [0x15, 3, 3, 0, 2, 2, 40].to_vec(),
    ] {
        let mut stream = TcpStream::connect(address(&relay)).expect("somebody listens");
        // It may be cut off before all of it is sent.
        let _ = stream.write_all(&bytes);
        assert!(ends(&mut stream), "{bytes:?}");
    }
    // Cut off in the middle.
    let cut = TcpStream::connect(address(&relay)).expect("somebody listens");
    (&cut).write_all(&[0x16, 3, 1, 1]).expect("it is open");
    drop(cut);
    until("all are counted", || {
        let ended = ["failed", "cut"].map(|result| handshakes(&relay, result));
        (ended.iter().sum::<u64>() == 8).then_some(())
    });
    event_id(&client.hook("k", b"{}"));
    drop(open);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted() {
    let (relay, _) = start(&identity(), |_| {});
    let client = TlsClient::new(address(&relay), &[&identity()]);
    assert!(client.try_connect().is_err());
    until("it is counted", || {
        (handshakes(&relay, "failed") == 1).then_some(())
    });
}

#[test]
fn a_certificate_is_replaced_without_a_dropped_connection() {
    let old = identity();
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), crate::support::URL);
    off(&mut config);
    config.server.tls = Some(old.write_pair(directory.path()));
    let relay = TestRelay::start_in(Arc::clone(&directory), config.clone(), None);
    let new = identity();
    let client = TlsClient::new(address(&relay), &[&old, &new]);
    let mut open = client.connect();
    assert_eq!(presented(&open), der(&old));

    new.write_pair(directory.path());
    let running = relay.relay.as_ref().expect("a running relay");
    running.reload(config).expect("a reload");
    open.ask("GET", "/healthz", "", b"");
    assert_eq!(open.reply().expect("an answer").status, 200);
    assert_eq!(presented(&client.connect()), der(&new));
    open.ask("GET", "/healthz", "", b"");
    assert_eq!(open.reply().expect("an answer").status, 200);
}

#[test]
fn half_a_pair_refuses_a_reload_and_the_old_one_goes_on() {
    let old = identity();
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), crate::support::URL);
    off(&mut config);
    let files = old.write_pair(directory.path());
    config.server.tls = Some(files.clone());
    let relay = TestRelay::start_in(Arc::clone(&directory), config.clone(), None);
    let running = relay.relay.as_ref().expect("a running relay");
    let new = identity();
    let client = TlsClient::new(address(&relay), &[&old, &new]);
    let replace_certificate: &dyn Fn() = &|| {
        std::fs::write(&files.cert_file, new.pem()).expect("writing it");
    };
    let cut_key: &dyn Fn() = &|| {
        let key = new.key_pem();
        std::fs::write(&files.key_file, &key[..key.len() / 2]).expect("writing it");
    };
    let remove_key: &dyn Fn() = &|| std::fs::remove_file(&files.key_file).expect("it is there");
    for (damage, says) in [
        (replace_certificate, "it belongs to another certificate"),
        (cut_key, "server.tls.key_file: "),
        (remove_key, "server.tls.key_file: "),
    ] {
        damage();
        let mut changed = config.clone();
        changed.server.max_body_bytes = 77;
        let error = running
            .reload(changed)
            .expect_err("half a pair")
            .to_string();
        assert!(
            error.contains(says) && error.contains("listener.key"),
            "{error}"
        );
        assert_eq!(presented(&client.connect()), der(&old), "{says}");
    }
    let mut without = config.clone();
    without.server.tls = None;
    let error = running
        .reload(without)
        .expect_err("only a start can")
        .to_string();
    assert!(error.contains("server.tls: "), "{error}");
    new.write_pair(directory.path());
    running.reload(config).expect("a whole pair");
    assert_eq!(presented(&client.connect()), der(&new));
}

#[test]
fn the_operators_listener_speaks_tls_too_and_tells_when_certificates_expire() {
    let own = identity_until(2099);
    let (relay, _) = start(&own, |config| config.admin.tls = config.server.tls.clone());
    let running = relay.relay.as_ref().expect("a running relay");
    let admin = running.admin_address().expect("an admin listener");
    let client = TlsClient::new(admin, &[&own]);
    let text = client.send("GET", "/metrics", "", b"").text();
    for line in [
        "relay_certificate_expiry_timestamp_seconds{listener=\"server\"} 4102444800",
        "relay_certificate_expiry_timestamp_seconds{listener=\"admin\"} 4102444800",
        "relay_tls_handshakes_total{listener=\"admin\",result=\"ok\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let post = |origin: &str| {
        let headers = format!("Origin: {origin}\r\nContent-Type: application/json\r\n");
        let reply = client.send("POST", "/api/reload", &headers, b"{\"dry_run\": true}");
        reply.status
    };
    assert_eq!(post("http://127.0.0.1"), 403);
    assert_ne!(post("https://127.0.0.1"), 403);
}

#[test]
fn an_unfinished_handshake_does_not_hold_up_the_stop() {
    let (mut relay, _) = start(&identity(), |_| {});
    let mut stream = TcpStream::connect(address(&relay)).expect("somebody listens");
    stream.write_all(&[0x16, 3, 1]).expect("it is open");
    // The test's grace is 5 s, and a stop that had to wait for it would be an error.
    let connected = Client::of(address(&relay)).raw(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(connected.status, 400);
    relay.stop();
    assert!(ends(&mut stream));
}

/// While systemd holds the socket, an upgrade is to refuse nobody: a client in the middle of its
/// handshake has a request to send.
#[test]
fn a_handshake_that_the_stop_meets_ends_and_its_request_is_answered() {
    let own = identity();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (mut relay, _) = start(&own, |_| {});
        let client = TlsClient::speaking(address(&relay), &[&own], &[version]);
        let begun = client.begin();
        // Accepted later, and closed earlier: it has said nothing.
        let mut silent = TcpStream::connect(address(&relay)).expect("somebody listens");
        std::thread::scope(|scope| {
            scope.spawn(|| relay.stop());
            assert!(ends(&mut silent));
            let mut connection = begun.finish().expect("the handshake goes on");
            connection.ask("GET", "/healthz", "", b"");
            assert_eq!(connection.reply().expect("an answer").status, 200);
            assert!(connection.reply().is_none(), "it ends after that");
        });
    }
}

#[test]
fn a_handshake_that_goes_no_further_holds_up_the_stop_for_its_own_time_at_most() {
    let own = identity();
    // The grace is a minute, and a test that had to wait for it would be too slow.
    let (mut relay, client) = start(&own, |config| {
        config.server.header_timeout = Duration::from_millis(300);
        config.server.shutdown_grace = Duration::from_secs(60);
    });
    let mut begun = client.begin().into_tcp();
    let before = std::time::Instant::now();
    relay.stop();
    assert!(before.elapsed() < Duration::from_secs(30));
    assert!(ends(&mut begun));
}

#[test]
fn the_answer_to_a_slow_reader_is_whole_and_one_that_never_reads_is_cut_off() {
    let own = identity();
    let (_relay, client) = start(&own, |config| {
        config.server.request_timeout = Duration::from_millis(500);
    });
    let ask = b"GET /openapi.yaml HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut slow = client.connect();
    for _ in 0..4 {
        assert!(slow.write(ask));
    }
    for _ in 0..4 {
        let reply = slow.reply().expect("an answer");
        assert!(reply.text().starts_with("openapi:"));
    }
    let mut never = client.connect();
    // Megabytes of answers fill the buffers of both sides.
    let is_cut = (0..4096).any(|_| {
        std::thread::park_timeout(Duration::from_millis(1));
        !never.write(ask)
    });
    assert!(is_cut, "it may keep its connection");
}

#[test]
fn a_server_says_that_it_speaks_tls_and_who_can_read_its_key() {
    let own = identity();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = own.write_pair(directory.path());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&files.key_file, readable).expect("its mode");
    let toml = "[server]\nlisten = \"127.0.0.1:0\"\n[server.tls]\n\
                cert_file = \"listener.pem\"\nkey_file = \"listener.key\"\n\
                [admin]\nlisten = \"\"\n[database]\nmin_free_bytes = 0\n";
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing it");
    let mut command = Process::command(directory.path());
    let output = command.arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("127.0.0.1:0 with TLS") && text.contains("has mode 0644"),
        "{text}"
    );

    let mut command = Process::command(directory.path());
    command.arg("serve");
    let mut process = Process::serve_by_tls(command, directory.path(), toml);
    assert!(
        process.begun.contains("server.tls.key_file"),
        "{}",
        process.begun
    );
    assert!(process.begun.contains("has mode 0644"), "{}", process.begun);
    let client = TlsClient::new(process.client.address(), &[&own]);
    assert_eq!(client.send("GET", "/healthz", "", b"").status, 200);
    process.signal("-TERM");
    assert!(process.ended().success());
}

#[test]
fn a_start_with_half_a_pair_names_file_key_and_problem() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    identity().write_pair(directory.path());
    std::fs::write(directory.path().join("listener.key"), identity().key_pem()).expect("writing");
    let toml = "[server]\nlisten = \"127.0.0.1:0\"\n[server.tls]\n\
                cert_file = \"listener.pem\"\nkey_file = \"listener.key\"\n";
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing it");
    for verb in ["check", "serve"] {
        let mut command = Process::command(directory.path());
        let output = command.arg(verb).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        let says = "relay.toml: server.tls.key_file: \"listener.key\": expected the private key of \
                    server.tls.cert_file";
        assert!(text.contains(says), "{verb}: {text}");
        assert!(!directory.path().join("relay.db").exists(), "{verb} began");
    }
}
