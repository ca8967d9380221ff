//! Events that are signed with the key of a certificate: Amazon SNS, `PayPal`. The certificate
//! comes from a TLS server on loopback, through the agent that fetches it from the provider.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use toml::{Table, Value};

use crate::clock::{FakeClock, Timestamp};
use crate::compiled_level::COMPILED_LEVEL;
use crate::config::Config;
use crate::config::providers::ProviderFile;
use crate::delivery::{self, CertificateServer};
use crate::model::Level;
use crate::relay::Relay;

const SNS: &str = "sns.us-east-2.amazonaws.com";
const PAYPAL: &str = "api.sandbox.paypal.com";
/// The hosts that the server stands for.
const HOSTS: &[&str] = &[SNS, PAYPAL, "sns.us-east-1.amazonaws.com"];
const TIMEOUT: Duration = Duration::from_millis(500);

/// The server's behaviour once a request has come.
#[derive(Clone)]
enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The beginning of an answer, and then nothing.
    Silence,
}

fn answer(head: &str, body: &[u8]) -> Answer {
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Answer::Bytes([head.as_bytes(), body].concat())
}

/// A TLS server, whose certificate is for the names of [`HOSTS`] unless others are given.
struct Provider {
    address: SocketAddr,
    authority: String,
    /// The requests that came, by their first line and host.
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Provider {
    fn start(answer: Answer, names: &[&str]) -> Self {
        let authority_key = rcgen::KeyPair::generate().expect("a key");
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key);
        let certificate = certificate.expect("a certificate").pem();
        let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = rcgen::CertificateParams::new(names).expect("names");
        let own = own.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a certificate and its key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let this = Self {
            address: listener.local_addr().expect("an address"),
            authority: certificate,
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (asked, connections) = (Arc::clone(&this.asked), Arc::clone(&this.connections));
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                serve(stream, Arc::clone(&config), &answer, &asked);
            }
        });
        this
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &Answer,
    asked: &Mutex<Vec<String>>,
) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let session = ServerConnection::new(config).expect("a session");
    let mut stream = StreamOwned::new(session, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            // The client trusts no such certificate.
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let host = head.lines().find(|line| line.starts_with("host:"));
    let first = head.lines().next().unwrap_or_default();
    let line = format!("{first} {}", host.unwrap_or_default());
    asked.lock().expect("no panic").push(line);
    match answer {
        Answer::Bytes(bytes) => {
            // The client closes before the end of a text that is too long.
            let _ = stream.write_all(bytes);
            let _ = stream.flush();
        }
        Answer::Silence => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n---");
            let _ = stream.flush();
            let _ = stream.read(&mut byte);
        }
    }
}

/// The request of a provider's file, and the certificate that it names.
struct Signed {
    provider: &'static str,
    vector: Table,
}

impl Signed {
    fn of(provider: &'static str, at: usize) -> Self {
        let text = ProviderFile::find(provider).expect("a provider").text;
        let file: Table = toml::from_str(text).expect("a provider's file");
        let vector = file["vectors"][at].as_table().expect("a vector").clone();
        Self { provider, vector }
    }

    fn certificate(&self) -> &[u8] {
        let all = self.vector["certificates"].as_table().expect("a table");
        let (_, pem) = all.iter().next().expect("a certificate");
        pem.as_str().expect("text").as_bytes()
    }

    fn url(&self) -> String {
        let all = self.vector["certificates"].as_table().expect("a table");
        all.keys().next().expect("a URL").clone()
    }

    /// The request with another URL of the certificate, which no signature covers.
    fn with_url(&self, url: &str) -> Self {
        let text = self.vector["body"].as_str().expect("text");
        let mut vector = self.vector.clone();
        let old = self.url();
        vector.insert("body".to_owned(), text.replace(&old, url).into());
        let headers = vector["headers"].as_table_mut().expect("a table");
        for (_, value) in headers.iter_mut() {
            if value.as_str() == Some(&old) {
                *value = Value::from(url);
            }
        }
        Self {
            provider: self.provider,
            vector,
        }
    }

    /// The request with another message and another URL of the certificate.
    fn forged(&self, url: &str) -> Self {
        let mut forged = self.with_url(url);
        let body = forged.body().replace("Hello", "Goodbye");
        forged.vector.insert("body".to_owned(), body.into());
        forged
    }

    fn body(&self) -> &str {
        self.vector["body"].as_str().expect("text")
    }

    /// A relay at the time of the request, that fetches from this server.
    fn relay(&self, from: &Provider, directory: &tempfile::TempDir) -> Scene {
        let params = self.vector["params"].as_table().expect("parameters");
        let params: Vec<String> = params
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n\
             [database]\nmin_free_bytes = 0\n[delivery]\nlevel = \"off\"\n\
             allow_networks = [\"127.0.0.0/8\"]\n\
             [destinations.orders]\nurl = \"http://127.0.0.1:9/\"\n[sources.s]\n\
             provider = \"{}\"\nparams = {{ {} }}\ndestinations = [\"orders\"]\n",
            self.provider,
            params.join(", ")
        );
        let file = directory.path().join("relay.toml");
        std::fs::write(&file, toml).expect("a file");
        let mut config = Config::load(Some(&file)).expect("a configuration");
        config.database.path = directory.path().join("relay.db");
        let seconds = self.vector["time"].as_integer().expect("a time");
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(seconds * 1000)));
        let server = CertificateServer {
            hosts: HOSTS,
            address: from.address,
            authority: from.authority.clone(),
            timeout: TIMEOUT,
        };
        let of_relay = Arc::<FakeClock>::clone(&clock);
        let relay = Relay::start_fetching(config, of_relay, |context| {
            delivery::fetch_certificate_from(context, &server)
        });
        Scene {
            relay: relay.expect("the relay starts"),
            clock,
        }
    }
}

struct Scene {
    relay: Relay,
    clock: Arc<FakeClock>,
}

impl Scene {
    /// Posts a request; the status of the answer.
    fn post(&self, signed: &Signed) -> u16 {
        let body = signed.body();
        let mut request = format!(
            "POST /webhooks/s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in signed.vector["headers"].as_table().expect("headers") {
            let value = value.as_str().expect("text");
            write!(request, "{name}: {value}\r\n").expect("a String takes all");
        }
        request += "\r\n";
        request += body;
        let mut stream = TcpStream::connect(self.relay.address()).expect("it listens");
        stream.write_all(request.as_bytes()).expect("a connection");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        reply[9..12].parse().unwrap_or_else(|_| panic!("{reply}"))
    }

    /// The bodies of the stored events.
    fn stored(&self) -> Vec<Vec<u8>> {
        let store = &self.relay.store;
        let events = store.all_deliveries(None).into_iter();
        let events = events.map(|delivery| store.intent(delivery.id));
        events
            .map(|event| event.expect("a read").expect("an event").payload)
            .collect()
    }
}

/// Sends a request whose certificate comes from a server that answers so. Returns the status, the
/// requests that the server got, and the number of stored events.
fn sent(signed: &Signed, answer: Answer, names: &[&str]) -> (u16, Vec<String>, usize) {
    let provider = Provider::start(answer, names);
    let directory = tempfile::tempdir().expect("a directory");
    let scene = signed.relay(&provider, &directory);
    let status = scene.post(signed);
    (status, provider.asked(), scene.stored().len())
}

fn is_fetching() -> bool {
    // A build without HTTP contacts nobody, and refuses such a source.
    COMPILED_LEVEL >= Level::Http
}

#[test]
fn an_event_is_stored_once_its_certificate_is_fetched() {
    if !is_fetching() {
        return;
    }
    for (provider, at, host) in [("aws-sns", 0, SNS), ("paypal", 1, PAYPAL)] {
        let signed = Signed::of(provider, at);
        let server = Provider::start(answer("200 OK", signed.certificate()), HOSTS);
        let directory = tempfile::tempdir().expect("a directory");
        let scene = signed.relay(&server, &directory);
        assert_eq!(scene.post(&signed), 202, "{provider}");
        assert_eq!(scene.post(&signed), 202, "{provider}: a duplicate");
        let url = signed.url().to_lowercase();
        let path = url.split_once(host).expect("the host").1;
        let expected = vec![format!("get {path} http/1.1 host: {host}")];
        assert_eq!(server.asked(), expected, "{provider}: it is fetched once");
        let stored = scene.stored();
        assert_eq!(stored, [signed.body().as_bytes()], "{provider}");
    }
}

#[test]
fn a_certificate_that_is_not_served_as_expected_is_not_used() {
    if !is_fetching() {
        return;
    }
    let signed = Signed::of("aws-sns", 0);
    let pem = signed.certificate();
    let redirect = format!("302 Found\r\nLocation: https://{SNS}/other.pem");
    let large = [pem, &vec![b'\n'; 64 * 1024][..]].concat();
    let other = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    for (answer, names, reads, expected) in [
        (answer(&redirect, pem), HOSTS, 1, 503),
        (answer("200 OK", &large), HOSTS, 1, 503),
        (answer("200 OK", b"no certificate"), HOSTS, 1, 503),
        (answer("404 Not Found", pem), HOSTS, 1, 503),
        (answer("206 Partial Content", pem), HOSTS, 1, 503),
        (Answer::Silence, HOSTS, 1, 503),
        // A server with a certificate of another name.
        (answer("200 OK", pem), &["sns.example.com"][..], 0, 503),
        // Somebody else's certificate.
        (answer("200 OK", other.cert.pem().as_bytes()), HOSTS, 1, 401),
    ] {
        let (status, asked, stored) = sent(&signed, answer, names);
        assert_eq!(
            (status, asked.len(), stored),
            (expected, reads, 0),
            "{asked:?}"
        );
    }
}

#[test]
fn a_server_with_the_certificate_of_another_authority_is_not_read() {
    if !is_fetching() {
        return;
    }
    let signed = Signed::of("aws-sns", 0);
    let mut server = Provider::start(answer("200 OK", signed.certificate()), HOSTS);
    server.authority = Provider::start(Answer::Silence, HOSTS).authority;
    let directory = tempfile::tempdir().expect("a directory");
    let scene = signed.relay(&server, &directory);
    assert_eq!(scene.post(&signed), 503);
    assert_eq!(server.asked(), Vec::<String>::new());
    assert!(scene.stored().is_empty());
}

#[test]
fn a_url_that_is_not_the_provider_s_is_not_asked() {
    if !is_fetching() {
        return;
    }
    let signed = Signed::of("aws-sns", 0);
    let path = "/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem";
    for url in [
        format!("https://example.com{path}"),
        format!("https://sns.us-east-2.amazonaws.com.example.com{path}"),
        format!("https://sns.s3.amazonaws.com{path}"),
        format!("https://SNS.us-east-2.amazonaws.com{path}"),
        format!("http://{SNS}{path}"),
        format!("https://{SNS}:8443{path}"),
        format!("https://a@{SNS}{path}"),
        format!("https://{SNS}"),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        let server = Provider::start(answer("200 OK", signed.certificate()), HOSTS);
        let directory = tempfile::tempdir().expect("a directory");
        let signed = signed.with_url(&url);
        let scene = signed.relay(&server, &directory);
        assert_eq!(scene.post(&signed), 401, "{url}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 0, "{url}");
        assert!(scene.stored().is_empty(), "{url}");
    }
}

#[test]
fn a_failed_fetch_is_tried_again_after_a_minute_and_another_url_at_once() {
    if !is_fetching() {
        return;
    }
    let signed = Signed::of("aws-sns", 0);
    let server = Provider::start(answer("500 Oops", b""), HOSTS);
    let directory = tempfile::tempdir().expect("a directory");
    let scene = signed.relay(&server, &directory);
    let other_host = signed.with_url("https://sns.us-east-1.amazonaws.com/a.pem");
    let forged = signed.with_url(&format!("https://{SNS}/none.pem"));
    for (request, asked) in [(&forged, 1), (&signed, 2), (&signed, 2), (&other_host, 3)] {
        assert_eq!(scene.post(request), 503);
        assert_eq!(server.asked().len(), asked);
    }
    scene.clock.advance(Duration::from_secs(60));
    assert_eq!(scene.post(&signed), 503);
    assert_eq!(server.asked().len(), 4);
    assert!(scene.stored().is_empty());
}

/// A stranger can name any URL, and the provider's own server answers some of them.
#[test]
fn a_certificate_in_use_outlasts_those_that_strangers_name() {
    if !is_fetching() {
        return;
    }
    let signed = Signed::of("aws-sns", 0);
    let server = Provider::start(answer("200 OK", signed.certificate()), HOSTS);
    let directory = tempfile::tempdir().expect("a directory");
    let scene = signed.relay(&server, &directory);
    assert_eq!(scene.post(&signed), 202);
    for number in 0..40 {
        let forged = signed.forged(&format!("https://{SNS}/{number}.pem"));
        // Those beyond the limit of a source are not tried.
        assert!([401, 503].contains(&scene.post(&forged)));
    }
    let asked = server.asked().len();
    assert!(asked <= 20, "{asked} fetches");
    assert_eq!(scene.post(&signed), 202, "a duplicate");
    assert_eq!(server.asked().len(), asked, "it is still there");
}
