//! A relay with everything that the console shows: healthy, failing and paused destinations, dead
//! letters, long names, hostile payloads, and the counts of a day.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relay::Config;
use relay::clock::{Clock as _, FakeClock};
use relay::config::{NamedSecret, Secret};

use crate::support::{Answer, Client, Receiver, TestRelay, until};

/// The tokens of the roles.
pub const OPERATE: &str = "operate-operate-1";
pub const READ: &str = "read-read-read-12";

/// Text that would do harm if a page took it for its own.
pub const HOSTILE: &str = "<script>document.title='stolen'</script><img src=x \
                           onerror=\"document.title='stolen'\">'\"&{{7*7}}\u{202e}gnp.exe\u{0}\u{1b}[2J";

pub const LONG_NAME: &str = "a-destination-whose-name-has-all-the-words-one-could-think-of";

pub struct Scene {
    pub relay: TestRelay,
    pub receiver: Receiver,
    /// Events that were sent, each under a key of its own.
    sent: AtomicUsize,
}

fn settings(receiver: &Receiver, database: &std::path::Path, has_tokens: bool) -> Config {
    with_tokens(&file(receiver, database), has_tokens)
}

fn with_tokens(text: &str, has_tokens: bool) -> Config {
    let mut config: Config = toml::from_str(text).expect("a configuration");
    if has_tokens {
        let named = |name: &str, secret: &str| NamedSecret {
            name: name.to_owned(),
            secret: Secret::new(secret),
        };
        config.admin.tokens = vec![named("OPS_TOKEN", OPERATE)];
        config.admin.read_tokens = vec![named("READ_TOKEN", READ)];
    }
    config
}

/// The configuration's text.
#[expect(clippy::too_many_lines, reason = "one text")]
fn file(receiver: &Receiver, database: &std::path::Path) -> String {
    let url = |path: &str| receiver.url(path);
    format!(
        r#"
        admin.listen = "127.0.0.1:0"
        api.keys = ["test-key"]
        [server]
        listen = "127.0.0.1:0"
        shutdown_grace = "1s"
        [database]
        path = '{}'
        min_free_bytes = 0
        [delivery]
        workers = 16
        allow_networks = ["127.0.0.0/8"]
        [destinations.orders]
        url = "{}"
        secrets = ["whsec_U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"]
        headers = {{ Authorization = "Bearer SECRET" }}
        [destinations.billing]
        url = "{}"
        retry = {{ schedule = ["1h", "2h"] }}
        [destinations.mail]
        url = "{}"
        [destinations.warehouse]
        url = "{}"
        [destinations.slow]
        url = "{}"
        concurrency = 1
        timeout = "60s"
        [destinations.{LONG_NAME}]
        url = "{}"
        [sources.github]
        destinations = ["orders"]
        event_type = {{ header = "X-GitHub-Event" }}
        [[sources.github.routes]]
        when = {{ type = ["pull_request*"] }}
        to = ["mail"]
        [[sources.github.routes]]
        when = {{ body = {{ "/action" = ["paid"] }} }}
        to = ["billing"]
        [sources.shop]
        destinations = ["orders", "billing", "mail"]
        accept_any_content = true
        max_body_bytes = "16MiB"
        [sources.store]
        destinations = ["warehouse"]
        [sources.slow]
        destinations = ["slow"]
        [sources.names]
        destinations = ["{LONG_NAME}"]
        [sources.audit]
        event_type = {{ header = "X-Audit-Event" }}
        [[sources.audit.routes]]
        when = {{ type = ["billing.*"] }}
        to = ["billing"]
        "#,
        database.join("relay.db").display(),
        url("/orders/SECRET"),
        url("/billing"),
        url("/mail"),
        url("/warehouse"),
        url("/slow"),
        url("/orders"),
    )
}

fn answer(path: &str) -> Answer {
    match path {
        "/billing" => Answer::status(503).body("out for lunch"),
        "/slow" => Answer::status(200).after(Duration::from_secs(60)),
        "/mail" => Answer::status(400).body(HOSTILE),
        _ => Answer::status(200)
            .body("{\"ok\":true}")
            .after(Duration::from_millis(20)),
    }
}

impl Scene {
    /// A relay where nothing has happened yet.
    pub fn empty(has_tokens: bool) -> Self {
        let receiver = Receiver::start(|arrival| answer(&arrival.path));
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let config = settings(&receiver, directory.path(), has_tokens);
        let relay = TestRelay::start_in(directory, config, None);
        Self {
            relay,
            receiver,
            sent: AtomicUsize::new(0),
        }
    }

    /// A relay with a history.
    pub fn busy(has_tokens: bool) -> Self {
        let mut scene = Self::empty(has_tokens);
        scene.relay.stop();
        let directory = Arc::clone(&scene.relay.directory);
        add_rollups(directory.path());
        let config = settings(&scene.receiver, directory.path(), has_tokens);
        scene.relay = TestRelay::start_in(directory, config, None);
        scene.fill();
        scene
    }

    /// A relay where nothing has happened yet, on a clock that stands still, and whose database has
    /// grown for hours, and has room for weeks.
    pub fn growing(clock: &Arc<FakeClock>) -> Self {
        let receiver = Receiver::start(|arrival| answer(&arrival.path));
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let mut config = settings(&receiver, directory.path(), true);
        config.database.max_bytes = Some(64 << 20);
        let start = || {
            let clock = Some(Arc::clone(clock));
            TestRelay::start_in(Arc::clone(&directory), config.clone(), clock)
        };
        start().stop();
        add_growth(directory.path(), clock.now().as_millis());
        let relay = start();
        Self {
            relay,
            receiver,
            sent: AtomicUsize::new(0),
        }
    }

    /// Starts the relay anew, held, with a destination in each state that wants an operator.
    pub fn restart_in_trouble(&mut self) {
        self.relay.stop();
        let directory = Arc::clone(&self.relay.directory);
        let sql = rusqlite::Connection::open(directory.path().join("relay.db"));
        let sql = sql.expect("the database opens");
        let later = now_millis() + 3_600_000;
        sql.execute_batch(&format!(
            "UPDATE destinations SET held_until = {later} WHERE name = 'orders';
             UPDATE destinations SET probe_at = {later}, probe_wait = 60000 WHERE name = 'billing';
             UPDATE destinations SET name = 'removed-from-the-file' WHERE name = 'warehouse';
             INSERT INTO settings VALUES ('held', '{{}}');"
        ))
        .expect("a change");
        drop(sql);
        let config = settings(&self.receiver, directory.path(), true);
        self.relay = TestRelay::start_in(directory, config, None);
    }

    /// Starts the relay anew with a route for all events of the source `audit`.
    pub fn restart_with_more_routes(&mut self) {
        self.relay.stop();
        let directory = Arc::clone(&self.relay.directory);
        let text = file(&self.receiver, directory.path());
        let text = text.replace(r#"type = ["billing.*"]"#, r#"type = ["*"]"#);
        let text = text.replace(r#"to = ["billing"]"#, r#"to = ["orders"]"#);
        self.relay = TestRelay::start_in(directory, with_tokens(&text, true), None);
    }

    /// The address of the console.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.admin().address())
    }

    pub fn port(&self) -> u16 {
        self.relay.admin().address().port()
    }

    /// Accepts an event, and returns its id.
    pub fn send(&self, source: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let path = format!("/webhooks/{source}");
        let key = format!("key-{}", self.sent.fetch_add(1, Ordering::Relaxed));
        let mut all = vec![("Idempotency-Key", key.as_str())];
        all.extend_from_slice(headers);
        let mut request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for (name, value) in all {
            write!(request, "{name}: {value}\r\n").expect("a String takes all");
        }
        write!(request, "Content-Length: {}\r\n\r\n", body.len()).expect("a String takes all");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        let reply = self.relay.client.raw(&bytes);
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.json()["event_id"].as_str().expect("an id").to_owned()
    }

    fn fill(&self) {
        let json = ("Content-Type", "application/json");
        let admin = self.relay.admin();
        let bearer = format!("Bearer {OPERATE}");
        let pause = br#"{"reason":"stocktaking until Monday"}"#;
        let headers = [json, ("Authorization", bearer.as_str())];
        admin.send("POST", "/api/destinations/warehouse/pause", &headers, pause);
        for number in 0..12 {
            let body = format!(r#"{{"action":"opened","number":{number}}}"#);
            self.send(
                "github",
                &[json, ("X-GitHub-Event", "issues")],
                body.as_bytes(),
            );
        }
        for number in 0..30 {
            let body = format!(r#"{{"order":{number},"total":"12.50"}}"#);
            self.send("shop", &[json], body.as_bytes());
        }
        for number in 0..7 {
            self.send("store", &[json], format!("{{\"n\":{number}}}").as_bytes());
        }
        self.send("names", &[json], b"{}");
        for name in ["audit.signed_in", "audit.signed_out", "audit.refused"] {
            self.send("audit", &[json, ("X-Audit-Event", name)], b"{}");
        }
        self.wait_for("dead_lettered", 30);
        self.wait_for("retrying", 1);
    }

    /// Waits until at least this number of deliveries is in a state.
    pub fn wait_for(&self, status: &str, number: usize) {
        until(&format!("{number} {status}"), || {
            (self.in_state(status) >= number).then_some(())
        });
    }

    /// Deliveries in a state, up to 200.
    pub fn in_state(&self, status: &str) -> usize {
        let path = format!("/api/deliveries?status={status}&limit=200");
        let page = self.get(&path);
        page["items"].as_array().expect("a list").len()
    }

    /// A document of the API.
    pub fn get(&self, path: &str) -> serde_json::Value {
        let bearer = format!("Bearer {OPERATE}");
        let admin: Client = self.relay.admin();
        let reply = admin.send("GET", path, &[("Authorization", &bearer)], b"");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }
}

/// Writes the space that was used in the last hours. It has grown, and an empty database uses more.
fn add_growth(directory: &std::path::Path, now: i64) {
    const HOUR: i64 = 3_600_000;
    let sql = rusqlite::Connection::open(directory.join("relay.db")).expect("the database opens");
    for hours in 1..=6 {
        sql.execute(
            "INSERT INTO space_samples (at, used) VALUES (?1, ?2)",
            [now - hours * HOUR, (6 - hours) << 14],
        )
        .expect("a row");
    }
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis();
    i64::try_from(now).expect("before the year 292 million")
}

/// Writes the counts of a day, as if the relay had run.
fn add_rollups(directory: &std::path::Path) {
    let sql = rusqlite::Connection::open(directory.join("relay.db")).expect("the database opens");
    let now = now_millis();
    sql.execute_batch("BEGIN").expect("a transaction");
    for (grain, steps) in [(60_i64, 70_i64), (3600, 30)] {
        let length = grain * 1000;
        let first = now / length * length;
        for step in 1..=steps {
            let at = first - step * length;
            add_step(&sql, grain, at, step);
        }
    }
    sql.execute_batch("COMMIT").expect("a commit");
}

fn add_step(sql: &rusqlite::Connection, grain: i64, at: i64, step: i64) {
    // Two waves, so that the charts have hills.
    let wave = (step * 7 % 13 + step * 5 % 11) * grain / 60;
    let accepted = 90 * grain / 60 + wave * 3;
    let failed = if step % 17 < 3 { 6 + wave / 4 } else { 0 };
    sql.execute(
        "INSERT OR REPLACE INTO source_rollups VALUES (?1, ?2, 'shop', ?3, 2, 1)",
        [grain, at, accepted],
    )
    .expect("a row");
    for (name, share, slow) in [("orders", 60, 5), ("billing", 30, 7), ("mail", 10, 9)] {
        let delivered = accepted * share / 100 - failed.min(accepted * share / 100);
        // Most of them near 2^slow milliseconds, and a few later.
        let mut latency = vec![0_u8; slow + 4];
        latency[slow] = 90;
        latency[slow + 1] = 20 + u8::try_from(step % 20).expect("a small number");
        latency[slow + 3] = 3;
        sql.execute(
            "INSERT OR REPLACE INTO destination_rollups VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
            rusqlite::params![grain, at, name, delivered, failed, latency],
        )
        .expect("a row");
    }
}
