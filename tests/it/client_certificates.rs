//! Client certificates, and the words for each way in which TLS fails.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustls::version::{TLS12, TLS13};

use crate::answers::relay_to;
use crate::support::certificates::{Identity, self_signed, signed_by};
use crate::support::raw::{answer, raw_receiver, read_head, receiver};
use crate::support::{Process, event_id, until};

/// Writes a file of mode 0600; returns its path.
fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("writing it");
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    path
}

/// Sends an event to `url`, whose certificate is `server`'s, with a client certificate or without.
/// Returns the kind of the failure and the error; both are empty if it is delivered.
fn tried(url: &str, server: &Identity, client: Option<&Identity>) -> (String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let relay = relay_to(url, |orders| {
        orders.ca_file = Some(server.write(directory.path()));
        if let Some(client) = client {
            orders.client_cert_file = Some(write(directory.path(), "relay.pem", &client.pem()));
            orders.client_key_file = Some(write(directory.path(), "relay.key", &client.key_pem()));
        }
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = until("it is over", || {
        let event = relay.client.get(&format!("/events/{id}")).json();
        let is_over = ["delivered", "dead_lettered"].contains(&event["status"].as_str()?);
        is_over.then_some(event)
    });
    let kind: Option<String> = relay.peek("SELECT failure FROM attempts");
    let error = event["last_error"].as_str().unwrap_or_default();
    (kind.unwrap_or_default(), error.to_owned())
}

#[test]
fn a_destination_that_requires_a_client_certificate_gets_the_configured_one() {
    let server = self_signed("127.0.0.1", |_| {});
    let authority = self_signed("", |_| {});
    let own = signed_by(&authority, "relay", |_| {});
    let others = self_signed("", |params| {
        let names = &mut params.distinguished_name;
        names.push(rcgen::DnType::CommonName, "others");
    });
    let stranger = signed_by(&others, "relay", |_| {});
    let by_namesake = signed_by(&self_signed("", |_| {}), "relay", |_| {});
    let expired = signed_by(&authority, "relay", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 3, 4);
    });
    let refused = "the destination refuses the client certificate: ";
    for (version, client, kind, begin, words) in [
        (&TLS13, Some(&own), "", "", ""),
        (&TLS12, Some(&own), "", "", ""),
        (
            &TLS13,
            None,
            "tls",
            "the destination requires a client certificate: ",
            "client_cert_file and client_key_file",
        ),
        (
            &TLS12,
            None,
            "tls",
            "the destination requires a client certificate: ",
            "client_cert_file and client_key_file",
        ),
        (
            &TLS13,
            Some(&by_namesake),
            "tls",
            refused,
            "does not verify",
        ),
        (
            &TLS13,
            Some(&stranger),
            "tls",
            refused,
            "its issuer is not trusted there",
        ),
        (
            &TLS12,
            Some(&stranger),
            "tls",
            refused,
            "its issuer is not trusted there",
        ),
        (&TLS13, Some(&expired), "tls", refused, "it has expired"),
    ] {
        let config = server.server_asking(Some(&authority), &[version]);
        let url = receiver(Some(config), |stream, _| {
            while read_head(stream).is_some() {
                answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let (found, error) = tried(&url, &server, client);
        let what = format!("{version:?}: {error}");
        assert_eq!(found, kind, "{what}");
        assert!(error.starts_with(begin) && error.contains(words), "{what}");
    }
}

#[test]
fn a_client_certificate_is_shown_to_its_destination_only() {
    let server = self_signed("127.0.0.1", |_| {});
    let authority = self_signed("", |_| {});
    let own = signed_by(&authority, "relay", |_| {});
    let config = server.server_asking(Some(&authority), rustls::ALL_VERSIONS);
    let url = receiver(Some(config), |stream, _| {
        while read_head(stream).is_some() {
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let relay = crate::support::TestRelay::start_with(&url, |config| {
        let orders = crate::support::orders(config);
        orders.retry = crate::support::every(std::time::Duration::from_secs(3600), 1);
        orders.ca_file = Some(server.write(directory.path()));
        let mut known = orders.clone();
        known.client_cert_file = Some(write(directory.path(), "relay.pem", &own.pem()));
        known.client_key_file = Some(write(directory.path(), "relay.key", &own.key_pem()));
        config.destinations.insert("known".to_owned(), known);
        let source = config.sources.get_mut("github").expect("a source");
        source.destinations.push("known".to_owned());
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let statuses = until("both were tried", || {
        let event = relay.client.get(&format!("/events/{id}")).json();
        let deliveries = event["deliveries"].as_array()?.clone();
        let status = |name: &str| {
            let mut all = deliveries.iter();
            let found = all.find(|delivery| delivery["destination"] == name)?;
            let is_tried = found["history"].as_array()?.len() == 1;
            is_tried.then(|| found["status"].as_str().map(str::to_owned))?
        };
        Some((status("known")?, status("orders")?))
    });
    assert_eq!(statuses, ("delivered".to_owned(), "retrying".to_owned()));
}

/// The words for an answer to the first bytes of TLS.
fn words_for(answer: &'static [u8]) -> String {
    let url = raw_receiver(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut [0; 4096]);
    });
    let url = url.replace("http:", "https:");
    let (kind, error) = tried(&url, &self_signed("127.0.0.1", |_| {}), None);
    assert_eq!(kind, "tls", "{error}");
    error
}

#[test]
fn a_server_of_another_version_and_its_alerts_are_told_in_plain_words() {
    // Alerts: a record of type 21, fatal.
    let alert = |code| -> &'static [u8] { Vec::leak(vec![21, 3, 1, 0, 2, 2, code]) };
    let version = "the destination speaks another version of TLS: expected 1.2 or 1.3";
    assert_eq!(words_for(alert(70)), version);
    // A ServerHello of TLS 1.0: version, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 47, 0]);
    assert_eq!(words_for(hello.leak()), version);
    for (code, words) in [
        (40, "no common cipher, or it requires a client certificate"),
        (42, "no common cipher, or it requires a client certificate"),
        (112, "does not serve the host's name"),
        (80, "the destination ended the TLS handshake: InternalError"),
        (
            116,
            "the destination requires a client certificate: client_cert_file",
        ),
    ] {
        let error = words_for(alert(code));
        assert!(error.contains(words), "{code}: {error}");
    }
}

#[test]
fn a_connection_that_ends_in_the_handshake_is_told_from_one_that_ends_before_the_answer() {
    let closing = receiver(None, |stream, _| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let server = self_signed("127.0.0.1", |_| {});
    let (kind, error) = tried(&closing.replace("http:", "https:"), &server, None);
    assert_eq!(kind, "reset", "{error}");
    let words = "the connection ended during the TLS handshake: is TLS spoken at its port?";
    assert_eq!(error, words);
    let (_, error) = tried(&closing, &server, None);
    let all = ["the connection ended before the answer", "connection reset"];
    assert!(all.contains(&error.as_str()), "{error}");
}

/// The output of `relay check` with a destination of these keys, and of a start.
fn checked(directory: &Path, keys: &str) -> Output {
    let toml = format!("[destinations.orders]\nurl = \"https://orders.invalid/\"\n{keys}");
    std::fs::write(directory.join("relay.toml"), toml).expect("writing relay.toml");
    Process::command(directory)
        .arg("check")
        .output()
        .expect("it runs")
}

#[test]
fn a_pair_that_is_none_is_found_by_the_check() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let (own, other) = (self_signed("relay", |_| {}), self_signed("relay", |_| {}));
    write(directory, "own.pem", &own.pem());
    write(directory, "own.key", &own.key_pem());
    write(directory, "other.key", &other.key_pem());
    write(
        directory,
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write(
        directory,
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write(directory, "locked.key", locked);
    write(directory, "a.txt", "text");
    let both = |certificate: &str, key: &str| {
        format!("client_cert_file = \"{certificate}\"\nclient_key_file = \"{key}\"\n")
    };
    for (keys, key, words) in [
        (
            "client_cert_file = \"own.pem\"\n".to_owned(),
            "client_cert_file",
            "client_key_file",
        ),
        (
            "client_key_file = \"own.key\"\n".to_owned(),
            "client_key_file",
            "client_cert_file",
        ),
        (
            both("own.pem", "other.key"),
            "client_key_file",
            "expected the private key of client_cert_file (\"own.pem\")",
        ),
        (
            both("none.pem", "own.key"),
            "client_cert_file",
            "No such file",
        ),
        (
            both("own.pem", "none.key"),
            "client_key_file",
            "No such file",
        ),
        (
            both("a.txt", "own.key"),
            "client_cert_file",
            "a PEM file of certificates",
        ),
        (
            both("own.pem", "a.txt"),
            "client_key_file",
            "a PEM file of a private key",
        ),
        (
            both("own.pem", "own.pem"),
            "client_key_file",
            "a PEM file of a private key",
        ),
        (
            both("broken.pem", "own.key"),
            "client_cert_file",
            "certificate",
        ),
        (
            both("own.pem", "broken.key"),
            "client_key_file",
            "expected an RSA, ECDSA",
        ),
        (
            both("own.pem", "locked.key"),
            "client_key_file",
            "without a passphrase",
        ),
        (
            "ca_file = \"broken.pem\"\n".to_owned(),
            "ca_file",
            "certificate",
        ),
    ] {
        let output = checked(directory, &keys);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{keys}: {error}");
        assert!(
            error.contains(&format!("relay.toml: destinations.orders.{key}: ")),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    let output = checked(directory, &both("own.pem", "own.key"));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success() && said.contains("with a client certificate"),
        "{said}"
    );
    assert!(!said.contains("note"), "{said}");

    std::fs::set_permissions(directory.join("own.key"), Permissions::from_mode(0o644))
        .expect("a mode");
    let output = checked(directory, &both("own.pem", "own.key"));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{said}");
    let note = "destinations.orders.client_key_file: \"own.key\" has mode 0644";
    assert!(said.contains(note), "{said}");
}
