//! Certificates of destinations: which are trusted, and the errors about the others.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay::config::Source;
use serde_json::json;

use crate::answers::relay_to;
use crate::support::certificates::{Identity, params, self_signed, signed_by, signing_itself};
use crate::support::raw::{answer, raw_receiver, read_bytes, read_head, receiver};
use crate::support::{TestRelay, event_id, event_with_status, every, orders, until};

/// Posts an event to a server that presents `shown`, with `named` in `ca_file`. Returns the kind of
/// the failure, the error, and the number of requests that arrived.
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
    let kind: Option<String> = relay.peek("SELECT failure FROM attempts");
    let error = event["last_error"].as_str().unwrap_or_default().to_owned();
    (
        kind.unwrap_or_default(),
        error,
        requests.load(Ordering::SeqCst),
    )
}

#[test]
fn a_certificate_in_ca_file_is_accepted_and_others_are_refused_with_the_reason() {
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
fn a_receiver_without_tls_is_told_from_one_with_an_untrusted_certificate() {
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
fn a_private_ca_is_trusted_only_for_its_destination() {
    let (authority, server) = certificates();
    let (server, answered) = (Arc::new(server), Arc::new(Mutex::new(0)));
    let url = {
        let answered = Arc::clone(&answered);
        raw_receiver(move |stream| {
            let connection =
                rustls::ServerConnection::new(Arc::clone(&server)).expect("a connection");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            // A client that doesn't trust the certificate closes during the handshake. Another one
            // would get a reset if the body were left unread.
            if read_head(&mut tls)
                .is_some_and(|read| read.ends_with(b"{}") || read_bytes(&mut tls, 2) == 2)
            {
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
    let kind: String = relay.peek("SELECT failure FROM attempts");
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
