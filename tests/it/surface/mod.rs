//! Sources with settings of their own: keys, answers, handshakes, queries. In every build.

mod answers;
#[cfg(feature = "delivery-durable")]
mod deliveries;
mod handshakes;
mod keys;
mod requests;
mod senders;

use std::fmt::Write as _;
use std::sync::Arc;

use relay::Config;
use relay::clock::{FakeClock, Timestamp};

use crate::support::{Client, Reply, TestRelay, config};

/// A relay with these sections beside those of [`config`], at a time of its own.
struct Scene {
    relay: TestRelay,
    clock: Arc<FakeClock>,
    /// Unlike the relay's own client it expects answers that openapi.yaml describes in words only.
    client: Client,
}

const NOW: i64 = 1_750_000_000;

/// Reads sections of a configuration.
fn parsed(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("relay.toml");
    let whole = format!("[destinations.orders]\nurl = \"http://127.0.0.1:9/hook\"\n{text}");
    std::fs::write(&file, whole).expect("a file");
    Config::load(Some(&file)).map_err(|error| error.to_string())
}

/// The error of these sections, less the file's name.
fn error(text: &str) -> String {
    let error = parsed(text).expect_err("the configuration is refused");
    let (_, rest) = error.split_once("relay.toml").expect("the file's name");
    rest.trim_start_matches(|c: char| c == ':' || c == ' ' || c.is_ascii_digit())
        .to_owned()
}

impl Scene {
    fn new(text: &str) -> Self {
        Self::delivering_to("http://127.0.0.1:9/hook", text, |config| {
            config.delivery.level = Some(relay::model::Level::Off);
        })
    }

    fn delivering_to(url: &str, text: &str, change: impl FnOnce(&mut Config)) -> Self {
        let read = parsed(text).expect("a configuration");
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let mut config = config(directory.path(), url);
        config.sources = read.sources;
        config.server = relay::config::Server {
            listen: config.server.listen,
            ..read.server
        };
        change(&mut config);
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(NOW * 1000)));
        let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
        Self {
            client: Client::of_admin(relay.client.address()),
            relay,
            clock,
        }
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.client.send("POST", path, headers, body)
    }

    fn get(&self, path: &str) -> Reply {
        self.client.send("GET", path, &[], b"")
    }

    /// Events that are stored.
    fn stored(&self) -> i64 {
        self.relay.peek("SELECT count(*) FROM intents")
    }
}

/// An HMAC-SHA-256 in hexadecimal.
fn hmac_hex(key: &str, content: &[u8]) -> String {
    hex(&hmac(key.as_bytes(), content))
}

fn hmac(key: &[u8], content: &[u8]) -> Vec<u8> {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("a key");
    mac.update(content);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes more text");
        text
    })
}
