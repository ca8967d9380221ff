//! Random bytes as requests: no panic (which ends the run), no 5xx, and only valid HTTP answers.
//!
//! A real relay on a real socket. The first byte of the input chooses the part of a request that
//! the rest replaces, so that the fuzzer gets past the request line. One command, ten minutes:
//!
//! ```sh
//! cargo +nightly fuzz run requests -- -max_total_time=600 -dict=fuzz/requests.dict -max_len=4096
//! ```

#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use relay::config::{
    Destination, HmacScheme, IdempotencyKeyAt, RateLimit, Secret, Source, StandardWebhooks,
    TokenScheme, Verify,
};
use relay::model::Level;
use relay::model::request::{SignatureFormat, Template};
use relay::{Config, Relay};

fn address() -> SocketAddr {
    static RELAY: OnceLock<(Relay, tempfile::TempDir)> = OnceLock::new();
    let (relay, _) = RELAY.get_or_init(|| {
        // In memory if there is such a directory, because the disk isn't tested.
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .expect("a temporary directory");
        let relay = Relay::start(config(directory.path())).expect("the relay starts");
        (relay, directory)
    });
    relay.address()
}

fn config(directory: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    // Incomplete requests time out soon, so that the next input follows.
    config.server.header_timeout = Duration::from_millis(10);
    config.server.request_timeout = Duration::from_millis(500);
    config.admin.listen = None;
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    config.database.path = directory.join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.level = Some(Level::Off);
    config.api.keys = vec![Secret::new("key")];
    let unlimited = RateLimit {
        per_second: 1e6,
        burst: 1_000_000,
    };
    config.api.rate_limit.post = unlimited;
    config.api.rate_limit.get = unlimited;
    let url = "http://127.0.0.1:9/".parse().expect("a URL");
    config
        .destinations
        .insert("d".to_owned(), Destination::new(url));
    for (name, source) in sources() {
        config.sources.insert(name.to_owned(), source);
    }
    for (name, text) in WRITTEN {
        let source = format!("destinations = [\"d\"]\n{text}");
        let source = toml::from_str(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
        config.sources.insert(name.to_owned(), source);
    }
    config
}

/// Sources as an operator writes them: handshakes, keys from everywhere, compressed bodies, public
/// keys, and formats with a time.
const WRITTEN: [(&str, &str); 6] = [
    (
        "asked",
        r#"
        idempotency = "none"
        handshakes = [
            "echo", "crc", "event_grid", "cloudevents", "slack", "asana", "reachable",
            { method = "POST", signed = false, when.body."/a/0" = [{ prefix = "x" }],
              json = { a = "{json./a/0}", b = ["{header.x-signature}"] } },
        ]
        verify.hmac = { header = "x-signature", secrets = ["s"] }
        "#,
    ),
    (
        "keyed",
        r#"
        accept_any_content = true
        idempotency = [
            { headers = ["x-a", "x-b"] }, { query = "k" }, { form = "k" },
            { json_pointer = "/a~1b/0" }, "body",
        ]
        event_type = { json_pointer = "/type" }
        "#,
    ),
    (
        "compressed",
        "idempotency = { json_pointer = \"/id\" }\ndecode = \"gzip\"",
    ),
    (
        "elliptic",
        r#"
        idempotency = "body"
        [verify.public_key]
        algorithm = "ed25519"
        header = ["x-a", "x-signature"]
        encoding = "base64"
        format = "{timestamp},{signature}"
        timestamp_format = "rfc3339"
        signed = "{timestamp}{method}{path}{query}{body_crc32}{body}"
        public_keys = ["03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"]
        "#,
    ),
    (
        "several",
        r#"
        idempotency = "none"
        secrets = ["s"]
        require.body."/n" = [{ min = 1, max = 9 }, { not = ["x"] }]
        verify_any = [
            { token = { header = "x-token", prefix = "Bearer " }, when.query.t = ["1"] },
            { basic = { user = "u" } },
            { hmac = { header = "x-signature", format = "t={timestamp},v1={signature}", signed = "{timestamp}{body}" } },
        ]
        "#,
    ),
    (
        "conditional",
        r#"
        idempotency = "none"
        verify.token = { value = "{query.token}", secrets = ["s"] }
        [require.body]
        "/a" = [1, 2.5, true, "x", { prefix = "a", suffix = "b", contains = "c" }]
        "/b/0/c" = [{ exists = false }, { equals_ignore_case = "Y" }]
        "#,
    ),
];

/// A source for each way to find a key and to check a signature.
fn sources() -> [(&'static str, Source); 10] {
    let source = |change: &dyn Fn(&mut Source)| {
        let mut source = Source::to(["d"]);
        change(&mut source);
        source
    };
    let secrets = || vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    [
        ("plain", source(&|_| {})),
        ("any", source(&|source| source.accept_any_content = true)),
        (
            "pointed",
            source(&|source| {
                source.idempotency = IdempotencyKeyAt::JsonPointer("/a/0/b".to_owned())
            }),
        ),
        (
            "standard",
            source(&|source| {
                source.verify = Some(Verify::StandardWebhooks(StandardWebhooks {
                    secrets: secrets(),
                    ..StandardWebhooks::default()
                }));
            }),
        ),
        (
            "timed",
            source(&|source| {
                let text = |text: &str| text.to_owned();
                source.verify = Some(Verify::Hmac(HmacScheme {
                    header: "x-signature".into(),
                    format: SignatureFormat::try_from(text("t={timestamp},v1={signature}"))
                        .expect("a format"),
                    signed: Template::parse("{timestamp}.{body}").expect("a template"),
                    secrets: secrets(),
                    ..HmacScheme::default()
                }));
            }),
        ),
        (
            "form",
            source(&|source| {
                source.accept_any_content = true;
                source.verify = Some(Verify::Hmac(HmacScheme {
                    header: "x-signature".into(),
                    signed: Template::parse("{url}{form_sorted}{form.a}").expect("a template"),
                    secrets: secrets(),
                    ..HmacScheme::default()
                }));
                source.public_url = Some("https://a".to_owned());
            }),
        ),
        (
            "document",
            source(&|source| {
                let part = |text| Template::parse(text).expect("a template");
                source.verify = Some(Verify::Hmac(HmacScheme {
                    signature: Some(part("{json./s/0}")),
                    timestamp: Some(part("{json./t}")),
                    signed: part("{timestamp}{json./a?}{?json./b|b={json./b}}{body_sha256}"),
                    secrets: secrets(),
                    ..HmacScheme::default()
                }));
            }),
        ),
        (
            "token",
            source(&|source| {
                source.verify = Some(Verify::Token(TokenScheme {
                    value: Some(Template::parse("{query.token}").expect("a template")),
                    secrets: secrets(),
                    ..TokenScheme::default()
                }));
            }),
        ),
        (
            "routed",
            source(&|source| {
                source.accept_any_content = true;
                let routes = [
                    "when.body.'/a/0/b' = ['x', { min = 1.5, not = 2 }]",
                    "when.body.'/a/0' = [{ exists = false }]\nwhen.body.'/~0' = [1]",
                    "when.headers.Host-Of = [{ prefix = 'a' }]\nwhen.body.'/0/0' = [true]",
                ];
                let routes = routes
                    .iter()
                    .map(|when| toml::from_str(&format!("to = ['d']\n{when}")).expect("a route"));
                source.routes = routes.collect();
            }),
        ),
        (
            "near",
            source(&|source| source.allow_ips = vec!["192.0.2.0/24".parse().expect("a network")]),
        ),
    ]
}

/// Kinds of requests.
const KINDS: u8 = 26;

/// The request for an input.
fn request(kind: u8, input: &[u8]) -> Vec<u8> {
    let post = |head: &str, body: &[u8]| {
        let length = body.len();
        let mut request = format!(
            "POST {head}\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    };
    let around = |before: &str, after: &str| [before.as_bytes(), input, after.as_bytes()].concat();
    match kind % KINDS {
        0 => post("/v1/relays HTTP/1.1\r\nX-API-Key: key", input),
        1 => post("/webhooks/plain HTTP/1.1\r\nIdempotency-Key: k", input),
        2 => post("/webhooks/any HTTP/1.1\r\nIdempotency-Key: k", input),
        3 => post("/webhooks/pointed HTTP/1.1", input),
        4 => around(
            "GET /",
            " HTTP/1.1\r\nHost: a\r\nX-API-Key: key\r\nConnection: close\r\n\r\n",
        ),
        5 => around(
            "GET /v1/relays?",
            " HTTP/1.1\r\nHost: a\r\nX-API-Key: key\r\nConnection: close\r\n\r\n",
        ),
        6 => around(
            "POST /webhooks/plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nIdempotency-Key: ",
            "\r\n\r\n{}",
        ),
        7 => around(
            "POST /webhooks/standard HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nwebhook-id: ",
            "\r\n\r\n{}",
        ),
        8 => around(
            "POST /webhooks/timed HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nx-signature: ",
            "\r\n\r\n{}",
        ),
        9 => post(
            "/webhooks/form HTTP/1.1\r\nx-signature: 00\r\n\
             Content-Type: application/x-www-form-urlencoded",
            input,
        ),
        10 => post("/webhooks/document HTTP/1.1", input),
        11 => around(
            "POST /webhooks/token?",
            " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        ),
        12 => around(
            "POST /webhooks/near HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nX-Forwarded-For: ",
            "\r\n\r\n{}",
        ),
        13 => post("/webhooks/asked HTTP/1.1\r\nx-signature: 00", input),
        14 => around(
            "GET /webhooks/asked?",
            " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ),
        15 => around(
            "POST /webhooks/asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nX-Hook-Secret: ",
            "\r\n\r\n{}",
        ),
        16 => post(
            "/webhooks/keyed?k HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded",
            input,
        ),
        17 => post("/webhooks/keyed HTTP/1.1", input),
        18 => post(
            "/webhooks/compressed HTTP/1.1\r\nContent-Encoding: gzip",
            input,
        ),
        19 => around(
            "POST /webhooks/elliptic?a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nx-signature: ",
            "\r\n\r\n{}",
        ),
        20 => around(
            "POST /webhooks/several?t=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nAuthorization: Basic ",
            "\r\n\r\n{}",
        ),
        // u:s
        21 => post(
            "/webhooks/several HTTP/1.1\r\nAuthorization: Basic dTpz",
            input,
        ),
        22 => post("/webhooks/conditional?token=s HTTP/1.1", input),
        23 => post("/webhooks/routed HTTP/1.1\r\nIdempotency-Key: k", input),
        // The fuzzer's bytes alone; and the same from a client that then closes its sending side.
        _ => input.to_vec(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, input)) = input.split_first() else {
        return;
    };
    let mut stream = TcpStream::connect(address()).expect("it listens");
    let limit = Some(Duration::from_secs(10));
    stream
        .set_read_timeout(limit)
        .expect("a timeout above zero");
    // A refusal may come before everything is sent.
    let _ = stream.write_all(&request(kind, input));
    if kind % KINDS == KINDS - 1 {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let is_reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(is_reset, "neither an answer nor an end: {error}");
    }
    if !answer.is_empty() {
        let status = answer.get(9..12).expect("a status line");
        assert!(
            answer.starts_with(b"HTTP/1."),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        assert!(
            matches!(status[0], b'1' | b'2' | b'4'),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
});
