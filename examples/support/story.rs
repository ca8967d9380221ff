//! Shared by the level examples: a relay on port 0 in a directory of its own, a small HTTP client,
//! and a story whose steps are checked.

#![allow(
    dead_code,
    reason = "shared by several targets, each of which uses a part of it"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use relay::config::{Secret, Source};
use relay::model::Level;
use relay::{Config, Relay};
use serde_json::Value;

pub type Story = Result<(), Box<dyn Error>>;

pub const KEY: &str = "example-key";

/// A relay of some level, and its directory.
pub struct Stage {
    pub relay: Relay,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Starts a relay; `change` sets its configuration.
    pub fn set(level: Level, change: impl FnOnce(&mut Config)) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse()?;
        config.admin.listen = None;
        config.database.path = directory.path().join("relay.db");
        config.database.min_free_bytes = 0;
        config.api.keys = vec![Secret::new(KEY)];
        config.delivery.level = Some(level);
        config.delivery.workers = 8;
        config.delivery.allow_networks = vec!["127.0.0.0/8".parse()?];
        config
            .sources
            .insert("shop".to_owned(), Source::to(["orders"]));
        change(&mut config);
        let relay = Relay::start(config)?;
        println!("relay listens at http://{}, level {level}", relay.address());
        Ok(Self {
            relay,
            _directory: directory,
        })
    }

    /// Sends a webhook event under a key; returns its id.
    pub fn event(&self, key: &str, body: &str) -> Result<String, Box<dyn Error>> {
        let headers = [
            ("Idempotency-Key", key),
            ("Content-Type", "application/json"),
        ];
        let answer = call(
            self.relay.address(),
            "POST",
            "/webhooks/shop",
            &headers,
            body,
        )?;
        let id = answer["event_id"].as_str().ok_or("no event id")?;
        println!("  POST /webhooks/shop {body} -> {id}");
        Ok(id.to_owned())
    }

    /// Creates a relay to a URL; returns its id.
    pub fn relay_to(&self, url: &str, payload: &str) -> Result<String, Box<dyn Error>> {
        let body = format!(
            r#"{{"eventType":"order.created","destination":{{"type":"webhook","url":"{url}"}},"payload":{payload}}}"#
        );
        let headers = [("X-API-Key", KEY), ("Content-Type", "application/json")];
        let answer = call(self.relay.address(), "POST", "/v1/relays", &headers, &body)?;
        let id = answer["id"].as_str().ok_or("no relay id")?;
        println!("  POST /v1/relays to {url} {payload} -> {id}");
        Ok(id.to_owned())
    }

    /// Gets an event or a relay.
    pub fn look(&self, id: &str) -> Result<Value, Box<dyn Error>> {
        let path = if id.starts_with("evt_") {
            format!("/events/{id}")
        } else {
            format!("/v1/relays/{id}")
        };
        call(
            self.relay.address(),
            "GET",
            &path,
            &[("X-API-Key", KEY)],
            "",
        )
    }

    /// Polls until it has the status, for at most half a minute.
    pub fn until(&self, id: &str, status: &str) -> Result<Value, Box<dyn Error>> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = self.look(id)?;
            if shown["status"] == status {
                println!("  {id} is {status}: {}", description(&shown));
                return Ok(shown);
            }
            if Instant::now() > end {
                return Err(format!("{id} should be {status} by now, and is {shown}").into());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn description(shown: &Value) -> String {
    let member = if shown["status_description"].is_string() {
        "status_description"
    } else {
        "failureReason"
    };
    shown[member].as_str().unwrap_or("-").to_owned()
}

/// Checks a step of the story.
pub fn must(holds: bool, what: &str) -> Story {
    if holds {
        println!("  ok: {what}");
        Ok(())
    } else {
        Err(format!("this did not hold: {what}").into())
    }
}

/// Sends a request on a connection of its own; returns its JSON answer.
pub fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Value, Box<dyn Error>> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("a String takes all");
    }
    request.push_str("\r\n");
    request.push_str(body);
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no whole answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("{method} {path} answered {status}: {body}").into());
    }
    Ok(serde_json::from_str(body)?)
}
