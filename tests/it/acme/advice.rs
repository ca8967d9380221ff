//! An authority's advice and its limits: pebble behind a front that speaks RFC 9773, as Debian's
//! pebble doesn't yet.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{Account, BodyWrapper, BytesResponse, Error, HttpClient, RevocationRequest};
use relay::clock::Clock as _;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::acme::{Authority, Running, Scene, has_pebble, real_time};
use crate::needs_a_file;
use crate::support::certificates::{Identity, params, signing_itself};
use crate::support::raw::{Stream, read_head, receiver};
use crate::support::tls::TlsClient;
use crate::support::{Reply, until};

const DAY: Duration = Duration::from_secs(86_400);
/// The time between two questions that the front names.
const SIX_HOURS: Duration = Duration::from_secs(6 * 3600);

/// The front's behaviour, and what it has seen.
#[derive(Default)]
struct Seen {
    /// Certificates that it was asked about.
    asked: Vec<String>,
    /// Revoked ones.
    revoked: Vec<String>,
    /// Certificates that orders named as replaced.
    replaced: Vec<String>,
    orders: u64,
    /// Orders are refused, and may come again after so many seconds.
    limit: Option<u64>,
    /// Its answers leave out what an authority may leave out: the certificate that an order
    /// replaces, and the time before the next question.
    is_mute: bool,
}

/// An authority that gives advice, whose front and pebble run.
struct Front {
    seen: Arc<Mutex<Seen>>,
    _pebble: Running,
}

impl Front {
    /// Before an authority with certificates of this lifetime.
    fn of(authority: &mut Authority, seen: Seen) -> Self {
        let own = params("localhost", |_| {});
        let own = signing_itself(own, rcgen::KeyPair::generate().expect("a key"));
        // Pebble reads the files once it listens, and ends if they don't belong together.
        own.write_pair(authority.directory.path());
        let pebble = authority.run();
        let seen = Arc::new(Mutex::new(seen));
        let shared = Arc::clone(&seen);
        let behind = TlsClient::trusting_all(([127, 0, 0, 1], authority.port).into());
        let url = serve(&own, move |request| {
            shared_answer(&shared, &behind, request)
        });
        let port = url.trim_end_matches('/').rsplit(':').next();
        authority.front = Some(port.expect("a port").parse().expect("a number"));
        Self {
            seen,
            _pebble: pebble,
        }
    }

    fn see<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().expect("no panics"))
    }
}

/// Answers each connection's only request.
fn serve(own: &Identity, answers: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> String {
    receiver(Some(own.server()), move |stream, _| {
        let request = whole_request(stream);
        if let Some(request) = request {
            let answer = answers(&request);
            let _ = stream.write_all(&answer);
            let _ = stream.flush();
        }
    })
}

/// A request's head and body as text, divided by an empty line; none if the connection ends first.
fn whole_request(stream: &mut dyn Stream) -> Option<Vec<u8>> {
    let mut read = read_head(stream)?;
    let (head, body) = divided(&read);
    let length = header(&head, "content-length").map_or(0, |text| text.parse().expect("a number"));
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).ok()?;
    read.extend_from_slice(&rest);
    Some(read)
}

fn divided(request: &[u8]) -> (String, String) {
    let text = String::from_utf8(request.to_vec()).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let line = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    line.map(|(_, value)| value.to_owned())
}

/// An answer in JSON with these lines in its head.
fn as_json(status: &str, lines: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\n{lines}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The payload of a signed request.
fn payload(request: &[u8]) -> Value {
    let signed: Value = serde_json::from_str(&divided(request).1).expect("JSON");
    let payload = signed["payload"].as_str().expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

/// Passes a request on, and returns the answer as it came.
fn passed_on(behind: &TlsClient, request: &[u8]) -> Vec<u8> {
    let (head, body) = divided(request);
    let text = format!("{head}\r\nConnection: close\r\n\r\n{body}");
    let mut connection = behind.connect();
    assert!(connection.write(text.as_bytes()), "pebble reads");
    connection.rest()
}

/// Passes a request on, and changes the document of its answer.
fn changed(behind: &TlsClient, request: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let reply = Reply::parse(&passed_on(behind, request)).expect("an answer");
    let mut document = reply.json();
    change(&mut document);
    let of_body = ["content-length", "connection"];
    let lines = reply.headers.iter();
    let lines = lines.filter(|(name, _)| !of_body.contains(&name.to_ascii_lowercase().as_str()));
    let lines: Vec<_> = lines
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let lines = lines.concat();
    as_json(&format!("{} Some", reply.status), &lines, &document)
}

fn shared_answer(seen: &Mutex<Seen>, behind: &TlsClient, request: &[u8]) -> Vec<u8> {
    let (head, _) = divided(request);
    let path = head.split(' ').nth(1).expect("a path");
    if let Some(id) = path.strip_prefix("/renewal-info/") {
        return advice(&mut seen.lock().expect("no panics"), id);
    }
    match path {
        "/dir" => {
            let host = header(&head, "host").expect("a host");
            changed(behind, request, |document| {
                document["renewalInfo"] = format!("https://{host}/renewal-info").into();
            })
        }
        "/order-plz" => {
            let mut seen = seen.lock().expect("no panics");
            seen.orders += 1;
            if let Some(seconds) = seen.limit {
                let kind = "urn:ietf:params:acme:error:rateLimited";
                let problem = json!({ "type": kind, "detail": "too many", "status": 429 });
                let lines = format!("Retry-After: {seconds}\r\n");
                return as_json("429 Too Many Requests", &lines, &problem);
            }
            let replaces = payload(request)["replaces"].clone();
            if let Some(id) = replaces.as_str() {
                seen.replaced.push(id.to_owned());
            }
            if replaces.is_null() || seen.is_mute {
                return passed_on(behind, request);
            }
            changed(behind, request, |order| order["replaces"] = replaces)
        }
        "/revoke-cert" => {
            let answer = passed_on(behind, request);
            // Pebble refuses some nonces on purpose.
            if answer.starts_with(b"HTTP/1.1 200") {
                let mut seen = seen.lock().expect("no panics");
                let asked = seen.asked.clone();
                seen.revoked.extend(asked);
            }
            answer
        }
        _ => passed_on(behind, request),
    }
}

/// A window in the last month of three, or in the past for a revoked certificate.
fn advice(seen: &mut Seen, id: &str) -> Vec<u8> {
    let is_revoked = seen.revoked.iter().any(|revoked| revoked == id);
    seen.asked.push(id.to_owned());
    let now = real_time();
    let (start, end) = if is_revoked {
        (now.minus(DAY * 2), now.minus(DAY))
    } else {
        (now.plus(DAY * 58), now.plus(DAY * 59))
    };
    let window = json!({ "start": start.to_string(), "end": end.to_string() });
    // Without it six hours hold, too.
    let lines = if seen.is_mute {
        String::new()
    } else {
        format!("Retry-After: {}\r\n", SIX_HOURS.as_secs())
    };
    as_json("200 OK", &lines, &json!({ "suggestedWindow": window }))
}

/// A client of the authority, for its account's own requests.
struct Http(TlsClient);

impl HttpClient for Http {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("bytes").to_bytes();
            let uri = &head.uri;
            let mut text = vec![format!(
                "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
                head.method,
                uri.path(),
                uri.authority().expect("a host"),
                body.len()
            )];
            for (name, value) in &head.headers {
                let value = value.to_str().expect("text");
                text.push(format!("{name}: {value}\r\n"));
            }
            let head = text.concat();
            let mut connection = client.connect();
            assert!(connection.write(&[head.as_bytes(), b"\r\n", &body].concat()));
            let reply = Reply::parse(&connection.rest()).expect("an answer");
            let mut response = hyper::Response::builder().status(reply.status);
            for (name, value) in &reply.headers {
                response = response.header(name, value);
            }
            let body = Full::new(Bytes::from(reply.body));
            Ok(BytesResponse::from(
                response.body(body).expect("a response"),
            ))
        })
    }
}

/// Revokes a relay's certificate by its account.
fn revoke(scene: &Scene) {
    let state = scene.directory.path().join("relay.db.acme");
    let read = |name: &str| std::fs::read_to_string(state.join(name)).expect("a file");
    let account: Value = serde_json::from_str(&read("account.json")).expect("JSON");
    let credentials = serde_json::from_value(account["credentials"].clone());
    let pem = read("certificate.pem");
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let port = scene.authority.front.expect("a front");
    let client = Http(TlsClient::trusting_all(([127, 0, 0, 1], port).into()));
    let builder = Account::builder_with_http(Box::new(client));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let account = builder.from_credentials(credentials.expect("credentials"));
        let request = RevocationRequest {
            certificate: &certificate,
            reason: None,
        };
        let revoked = account.await.expect("an account").revoke(&request).await;
        revoked.expect("it is revoked");
    });
}

fn authority() -> Authority {
    let mut authority = Authority::new();
    authority.lifetime = DAY * 90;
    authority
}

#[test]
fn a_revoked_certificate_is_noticed_and_replaced_within_six_hours() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    // An authority may know nothing of replaced certificates.
    for is_mute in [false, true] {
        let mut authority = authority();
        let seen = Seen {
            is_mute,
            ..Seen::default()
        };
        let front = Front::of(&mut authority, seen);
        let scene = Scene::with(authority);
        let asked = |times: usize| {
            until("it asks", || {
                front.see(|seen| (seen.asked.len() >= times).then_some(()))
            });
        };
        let first = scene.obtained();
        asked(1);
        scene.clock.advance(SIX_HOURS);
        asked(2);
        assert_eq!(scene.presented().as_ref(), Some(&first), "it is kept");
        revoke(&scene);
        scene.clock.advance(SIX_HOURS);
        let second = scene.renewed(&first);
        let (asked_about, replaced) = front.see(|seen| (seen.asked.clone(), seen.replaced.clone()));
        assert_eq!(replaced, asked_about[..1], "the first one is replaced");
        // The next one is another one, and isn't revoked.
        asked(4);
        assert_ne!(front.see(|seen| seen.asked[3].clone()), asked_about[0]);
        assert_eq!(scene.presented(), Some(second));
    }
}

#[test]
fn a_start_asks_about_its_certificate_no_earlier_than_the_authority_wants() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let mut authority = authority();
    let front = Front::of(&mut authority, Seen::default());
    let mut scene = Scene::with(authority);
    scene.obtained();
    let ask_at = until("the answer is stored", || {
        scene.state()["advice"]["ask_at"].as_i64()
    });
    assert!(ask_at > scene.clock.wall().as_millis());
    scene.restart();
    scene.clock.advance(SIX_HOURS);
    until("it asks", || {
        front.see(|seen| (seen.asked.len() >= 2).then_some(()))
    });
    assert_eq!(front.see(|seen| seen.asked.len()), 2);
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_authority_says() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let mut authority = authority();
    let seen = Seen {
        limit: Some(7200),
        ..Seen::default()
    };
    let front = Front::of(&mut authority, seen);
    let scene = Scene::with(authority);
    until("the limit is noted", || {
        (scene.state()["tries"]["limited_for"] == 7200).then_some(())
    });
    front.see(|seen| seen.limit = None);
    // A look that comes to nothing: the next one follows it.
    scene.clock.advance(Duration::from_secs(7100));
    scene.clock.advance(Duration::from_secs(50));
    assert_eq!(front.see(|seen| seen.orders), 1);
    scene.clock.advance(Duration::from_secs(60));
    scene.obtained();
    assert_eq!(front.see(|seen| seen.orders), 2);
}
