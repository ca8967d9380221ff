//! Durable `POST /webhooks/{source}` a second beside two limits, interleaved in one run: a hyper
//! handler that does nothing, and one that appends to a file and syncs it, a group at a time. Then
//! the cost of each scheme of verification and of routes, beside a source without them. Only the
//! ratios can be compared between machines.
//!
//! ```text
//! cargo bench --bench ingest
//! ```

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use relay::Relay;
use relay::config::Source;
use relay::model::Level;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::Sha256;
use support::servers::{fsync_log, no_op};
use support::{Load, WriteRequest, load, load_with, median, rounds, runtime, sample, spread};
use tokio::runtime::Runtime;

/// An RSA key of 2048 bits, the public part first: ring makes none. It protects nothing.
const RSA: &str = include_str!("support/rsa.pem");

/// One sample of each, in turn.
struct Sample {
    no_op: Load,
    log: Load,
    durable: Load,
}

#[expect(
    clippy::too_many_lines,
    reason = "measures one table from its head to its last row"
)]
fn main() {
    let client = runtime(1);
    let idle = runtime(2);
    let (no_op, _) = no_op(&idle);
    let directory = support::directory();
    let log = fsync_log(&idle, directory.path());
    let mut config = support::config(directory.path(), no_op);
    config.delivery.level = Some(Level::Off);
    let schemes = schemes();
    for scheme in &schemes {
        config
            .sources
            .insert(scheme.name.to_owned(), scheme.source());
    }
    for routes in ROUTES {
        let source = toml::from_str(&routed(routes)).expect("a source");
        config.sources.insert(routed_name(routes), source);
    }
    let relay = Relay::start(config).expect("the relay starts");

    println!(
        "{} samples of {:?} each, interleaved; medians, and (least–most) of the ratios\n",
        rounds(),
        sample()
    );
    println!(
        "{:>5} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:<18} | {:<18} | {:<11} | p99 ÷ log",
        "conns",
        "no-op/s",
        "p50",
        "p99",
        "log/s",
        "p50",
        "p99",
        "relay/s",
        "p50",
        "p99",
        "relay ÷ no-op",
        "relay ÷ log",
        "p50 ÷ log"
    );
    let mut figures = Vec::new();
    for connections in [1, 16, 64, 256] {
        // The first sample of each warms caches and pools.
        for to in [no_op, log, relay.address()] {
            load(&client, to, connections, sample() / 4);
        }
        let samples: Vec<Sample> = (0..rounds())
            .map(|_| Sample {
                no_op: load(&client, no_op, connections, sample()),
                log: load(&client, log, connections, sample()),
                durable: load(&client, relay.address(), connections, sample()),
            })
            .collect();
        let of = |figure: fn(&Sample) -> f64| -> Vec<f64> { samples.iter().map(figure).collect() };
        let micros = |figure: fn(&Sample) -> f64| format!("{:.0} µs", median(of(figure)) * 1e6);
        let ratio = |figure: fn(&Sample) -> f64| {
            let ratios = of(figure);
            let (least, most) = spread(&ratios);
            let median = median(ratios);
            let text = format!("{median:.2} ({least:.2}–{most:.2})");
            (
                text,
                json!({ "median": median, "least": least, "most": most }),
            )
        };
        let by_no_op = ratio(|s| s.durable.per_second / s.no_op.per_second);
        let by_log = ratio(|s| s.durable.per_second / s.log.per_second);
        let p50 = ratio(|s| s.durable.p50.as_secs_f64() / s.log.p50.as_secs_f64());
        let p99 = ratio(|s| s.durable.p99.as_secs_f64() / s.log.p99.as_secs_f64());
        println!(
            "{connections:>5} | {:>8.0} {:>8} {:>8} | {:>8.0} {:>8} {:>8} | {:>8.0} {:>8} {:>8} | {:<18} | {:<18} | {:<11} | {}",
            median(of(|s| s.no_op.per_second)),
            micros(|s| s.no_op.p50.as_secs_f64()),
            micros(|s| s.no_op.p99.as_secs_f64()),
            median(of(|s| s.log.per_second)),
            micros(|s| s.log.p50.as_secs_f64()),
            micros(|s| s.log.p99.as_secs_f64()),
            median(of(|s| s.durable.per_second)),
            micros(|s| s.durable.p50.as_secs_f64()),
            micros(|s| s.durable.p99.as_secs_f64()),
            by_no_op.0,
            by_log.0,
            p50.0.split(' ').next().unwrap_or_default(),
            p99.0.split(' ').next().unwrap_or_default(),
        );
        figures.push(json!({
            "connections": connections,
            "no_op_per_second": median(of(|s| s.no_op.per_second)),
            "log_per_second": median(of(|s| s.log.per_second)),
            "relay_per_second": median(of(|s| s.durable.per_second)),
            "relay_by_no_op": by_no_op.1,
            "relay_by_log": by_log.1,
            "p50_by_log": p50.1,
            "p99_by_log": p99.1,
        }));
    }
    let schemes = cost_of_schemes(&client, relay.address(), &schemes);
    let routes = cost_of_routes(&client, relay.address());
    relay.stop().expect("the relay stops");
    support::keep("ingest_routes", &json!(routes));
    support::keep("ingest", &json!(figures));
    support::keep("ingest_schemes", &json!(schemes));
}

/// A source with a scheme, and a request that it verifies.
struct Scheme {
    name: &'static str,
    /// The content of the source's section but for its destinations.
    settings: String,
    headers: String,
}

impl Scheme {
    fn source(&self) -> Source {
        let text = format!("destinations = [\"sink\"]\n{}", self.settings);
        toml::from_str(&text).expect("a source")
    }
}

/// A source of each kind. Their signatures are made before: they have no time, or the longest
/// tolerance.
fn schemes() -> Vec<Scheme> {
    let body = support::body();
    let secret = "secrets = [\"secret\"]";
    let mut schemes = vec![
        Scheme {
            name: "none",
            settings: String::new(),
            headers: String::new(),
        },
        Scheme {
            name: "token",
            settings: format!("verify.token = {{ header = \"X-Token\", {secret} }}"),
            headers: "X-Token: secret\r\n".to_owned(),
        },
        Scheme {
            name: "basic",
            settings: format!("verify.basic = {{ user = \"relay\", {secret} }}"),
            headers: "Authorization: Basic cmVsYXk6c2VjcmV0\r\n".to_owned(),
        },
        Scheme {
            name: "hmac",
            settings: format!("verify.hmac = {{ header = \"X-Signature\", {secret} }}"),
            headers: format!(
                "X-Signature: {}\r\n",
                hex::encode(hmac(b"secret", body.as_bytes()))
            ),
        },
        standard_webhooks(&body),
    ];
    schemes.extend(public_keys(body.as_bytes()));
    schemes
}

fn hmac(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(content);
    mac.finalize().into_bytes().to_vec()
}

fn standard_webhooks(body: &str) -> Scheme {
    let key = [7; 32];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.expect("a time after 1970").as_secs();
    let signature = STANDARD.encode(hmac(&key, format!("msg_1.{seconds}.{body}").as_bytes()));
    Scheme {
        name: "standard",
        settings: format!(
            "verify.standard_webhooks = {{ tolerance = \"7d\", secrets = [\"whsec_{}\"] }}",
            STANDARD.encode(key)
        ),
        headers: format!(
            "webhook-id: msg_1\r\nwebhook-timestamp: {seconds}\r\n\
             webhook-signature: v1,{signature}\r\n"
        ),
    }
}

/// The schemes of public keys.
fn public_keys(body: &[u8]) -> [Scheme; 3] {
    let scheme = |name, algorithm: &str, key: &str, signature: &[u8]| Scheme {
        name,
        settings: format!(
            "verify.public_key = {{ algorithm = \"{algorithm}\", header = \"X-Signature\", \
             public_keys = [\'\'\'{key}\'\'\'] }}"
        ),
        headers: format!("X-Signature: {}\r\n", hex::encode(signature)),
    };
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
    let p256 = p256.expect("a key");
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, p256.as_ref(), &random);
    let p256 = p256.expect("a key");
    let (rsa_public, rsa) = RSA.split_once("-----BEGIN PRIVATE").expect("two keys");
    let rsa: String = rsa
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with('-'))
        .collect();
    let rsa = RsaKeyPair::from_pkcs8(&STANDARD.decode(rsa).expect("base64")).expect("a key");
    let mut of_rsa = vec![0; rsa.public().modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, body, &mut of_rsa)
        .expect("a signature");
    [
        scheme(
            "ed25519",
            "ed25519",
            &hex::encode(ed25519.public_key()),
            ed25519.sign(body).as_ref(),
        ),
        scheme(
            "p256",
            "ecdsa_p256_sha256",
            &hex::encode(p256.public_key()),
            p256.sign(&random, body).expect("a signature").as_ref(),
        ),
        scheme("rsa2048", "rsa_sha256", rsa_public, &of_rsa),
    ]
}

/// Routes of a source; 64 are the most.
const ROUTES: [usize; 4] = [0, 1, 10, 64];

fn routed_name(routes: usize) -> String {
    format!("routed{routes}")
}

/// A source with so many routes: each looks at a header and at two places of the body, and none
/// wants the event that is sent.
fn routed(routes: usize) -> String {
    let routes = (0..routes).map(|at| {
        format!(
            "[[routes]]\nto = [\"sink\"]\nwhen.headers.Content-Type = [{{ prefix = \"app\" }}]\n\
             when.body.\"/id\" = [{{ exists = true }}, {{ exists = false }}]\n\
             when.body.\"/none{at}\" = [\"a\", {{ min = {at} }}]\n"
        )
    });
    format!("destinations = [\"sink\"]\n{}", routes.collect::<String>())
}

/// Events a second of sources with routes over those of one without, from 16 connections.
fn cost_of_routes(client: &Runtime, to: SocketAddr) -> Vec<Value> {
    println!("\n{:>8} | {:>8} | relay ÷ none", "routes", "relay/s");
    let mut rates = vec![Vec::new(); ROUTES.len()];
    for _ in 0..rounds() {
        for (routes, rates) in ROUTES.iter().zip(&mut rates) {
            let (name, body) = (routed_name(*routes), support::body());
            let write: WriteRequest =
                Arc::new(move |client| client.write_event_of(&name, "", &body));
            rates.push(load_with(client, to, 16, sample(), &write).per_second);
        }
    }
    let none = rates.first().cloned().unwrap_or_default();
    let figures = ROUTES.iter().zip(rates).map(|(routes, rates)| {
        let ratios: Vec<f64> = rates
            .iter()
            .zip(&none)
            .map(|(rate, none)| rate / none)
            .collect();
        let (least, most) = spread(&ratios);
        let (rate, ratio) = (median(rates), median(ratios));
        println!("{routes:>8} | {rate:>8.0} | {ratio:.2} ({least:.2}–{most:.2})");
        json!({ "routes": routes, "per_second": rate, "by_none": ratio })
    });
    figures.collect()
}

/// Events a second of each scheme over those of a source without one, from 16 connections.
fn cost_of_schemes(client: &Runtime, to: SocketAddr, schemes: &[Scheme]) -> Vec<Value> {
    println!("\n{:>8} | {:>8} | relay ÷ none", "scheme", "relay/s");
    let mut rates = vec![Vec::new(); schemes.len()];
    for _ in 0..rounds() {
        for (scheme, rates) in schemes.iter().zip(&mut rates) {
            let (name, headers, body) = (scheme.name, scheme.headers.clone(), support::body());
            let write: WriteRequest =
                Arc::new(move |client| client.write_event_of(name, &headers, &body));
            rates.push(load_with(client, to, 16, sample(), &write).per_second);
        }
    }
    let none = rates.first().cloned().unwrap_or_default();
    let figures = schemes.iter().zip(rates).map(|(scheme, rates)| {
        let ratios: Vec<f64> = rates
            .iter()
            .zip(&none)
            .map(|(rate, none)| rate / none)
            .collect();
        let (least, most) = spread(&ratios);
        let (rate, ratio) = (median(rates), median(ratios));
        println!(
            "{:>8} | {rate:>8.0} | {ratio:.2} ({least:.2}–{most:.2})",
            scheme.name
        );
        json!({ "scheme": scheme.name, "per_second": rate, "by_none": ratio })
    });
    figures.collect()
}
