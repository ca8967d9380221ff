//! Certificates by ACME, from pebble, the authority that Let's Encrypt has for tests. Without it
//! these tests say so and check nothing: Debian has it in the package `pebble`.

mod advice;

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay::Config;
use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::Acme;

use crate::needs_a_file;
use crate::support::certificates::{params, signing_itself};
use crate::support::tls::TlsClient;
use crate::support::{Client, Reply, TestRelay, free_port, off, until};

const DOMAIN: &str = "hooks.example.org";

/// The lifetime of pebble's certificates.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Whether pebble is there; says so if it isn't.
fn has_pebble() -> bool {
    let found = ["pebble", "pebble-challtestsrv"].iter().all(|name| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(name).exists())
    });
    if !found {
        println!("skipped: pebble isn't installed");
    }
    found
}

/// A process that ends with its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(silent.stderr(Stdio::null()).spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The ports and files of an authority, which may run or not.
struct Authority {
    directory: tempfile::TempDir,
    port: u16,
    names: SocketAddr,
    /// The port by which relay reaches it, if that is another one.
    front: Option<u16>,
    /// The port of relay that it checks.
    checked: u16,
    /// Of its certificates.
    lifetime: Duration,
    _names: Running,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let own = params("localhost", |_| {});
        let own = signing_itself(own, rcgen::KeyPair::generate().expect("a key"));
        own.write_pair(directory.path());
        let names = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let management = format!("127.0.0.1:{}", free_port());
        // It knows one address for all names.
        let server = Running::start(
            Command::new("pebble-challtestsrv")
                .args(["-dns01", &names.to_string(), "-management", &management])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]),
        );
        Self {
            directory,
            port: free_port(),
            front: None,
            names,
            checked: free_port(),
            lifetime: LIFETIME,
            _names: server,
        }
    }

    /// Runs it, and waits until it answers. It remembers nothing of an earlier run.
    fn run(&self) -> Running {
        self.run_checking(self.checked)
    }

    /// As [`Authority::run`]; it checks this port.
    fn run_checking(&self, checked: u16) -> Running {
        let path = self.directory.path();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", free_port()),
            "certificate": path.join("listener.pem"),
            "privateKey": path.join("listener.key"),
            "httpPort": free_port(),
            "tlsPort": checked,
            "certificateValidityPeriod": self.lifetime.as_secs(),
        }});
        let file = path.join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("writing it");
        let running = Running::start(
            Command::new("pebble")
                // It refuses each twentieth nonce by default, and an order that is sent again
                // counts twice.
                .env("PEBBLE_WFE_NONCEREJECT", "0")
                .env("PEBBLE_VA_NOSLEEP", "1")
                .args(["-dnsserver", &self.names.to_string(), "-config"])
                .arg(&file),
        );
        until("pebble listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        running
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/dir", self.front.unwrap_or(self.port))
    }

    /// The configuration of a relay that it can check.
    fn config(&self, directory: &Path) -> Config {
        let mut config = crate::support::config(directory, crate::support::URL);
        off(&mut config);
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], self.checked));
        config.server.acme = Some(Acme {
            domains: vec![DOMAIN.to_owned()],
            email: Some("ops@example.org".to_owned()),
            directory_url: self.url(),
            accept_terms: true,
            external_port: Some(self.checked),
            ca_file: Some(self.directory.path().join("listener.pem")),
        });
        config
    }
}

/// A relay with a clock that stands until it is moved, and its directory.
struct Scene {
    authority: Authority,
    directory: Arc<tempfile::TempDir>,
    clock: Arc<FakeClock>,
    relay: TestRelay,
}

impl Scene {
    fn start() -> Self {
        Self::with(Authority::new())
    }

    fn with(authority: Authority) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let clock = Arc::new(FakeClock::at(real_time()));
        let config = authority.config(directory.path());
        let relay = TestRelay::start_in(Arc::clone(&directory), config, Some(clock.clone()));
        Self {
            authority,
            directory,
            clock,
            relay,
        }
    }

    fn restart(&mut self) {
        self.relay.stop();
        let config = self.authority.config(self.directory.path());
        let clock = Some(self.clock.clone());
        self.relay = TestRelay::start_in(Arc::clone(&self.directory), config, clock);
    }

    fn client(&self) -> TlsClient {
        TlsClient::trusting_all(SocketAddr::from(([127, 0, 0, 1], self.authority.checked)))
    }

    /// The certificate that is presented, if there is one.
    fn presented(&self) -> Option<Vec<u8>> {
        let connection = self.client().try_connect_as(DOMAIN).ok()?;
        Some(connection.tls().peer_certificates()?[0].to_vec())
    }

    fn obtained(&self) -> Vec<u8> {
        until("a certificate", || self.presented())
    }

    /// Waits for a certificate that isn't this one.
    fn renewed(&self, before: &[u8]) -> Vec<u8> {
        until("another certificate", || {
            self.presented().filter(|now| now != before)
        })
    }

    fn admin(&self) -> Client {
        self.relay.admin()
    }

    fn ready(&self) -> Reply {
        self.admin().send("GET", "/readyz", &[], b"")
    }

    /// The state as it is stored.
    fn state(&self) -> serde_json::Value {
        let path = self.directory.path().join("relay.db.acme/state.json");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The failures since the last certificate, as they are stored.
    fn failures(&self) -> u64 {
        self.state()["tries"]["failures"]
            .as_u64()
            .unwrap_or_default()
    }

    fn has_failed(&self, times: u64) {
        // A try counts as failed from its beginning; a handshake after it shows its end.
        until("a failure", || (self.failures() >= times).then_some(()));
    }
}

fn real_time() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = now.expect("it is later").as_millis();
    Timestamp::from_millis(i64::try_from(millis).expect("it fits"))
}

#[test]
fn a_certificate_is_obtained_renewed_and_kept_over_restarts() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let mut scene = Scene::start();
    // Nobody answers yet: handshakes are refused, and the operator is told why.
    until("a try", || (scene.failures() == 1).then_some(()));
    assert_eq!(scene.presented(), None);
    let unready = scene.ready();
    assert_eq!(unready.status, 503);
    assert!(
        unready.text().contains("no certificate yet"),
        "{}",
        unready.text()
    );

    let pebble = scene.authority.run();
    scene.clock.advance(Duration::from_secs(60));
    let first = scene.obtained();
    until("the success is noted", || {
        (scene.failures() == 0).then_some(())
    });
    assert_eq!(scene.ready().status, 200);
    let state = scene.directory.path().join("relay.db.acme");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
    };
    assert_eq!(mode(&state) & 0o777, 0o700);
    for name in ["account.json", "certificate.pem", "state.json"] {
        assert_eq!(mode(&state.join(name)) & 0o777, 0o600, "{name}");
    }
    let text = scene.admin().send("GET", "/metrics", &[], b"").text();
    let challenges = "relay_tls_handshakes_total{listener=\"server\",result=\"challenge\"} ";
    let challenges = text.lines().find_map(|line| line.strip_prefix(challenges));
    assert!(
        challenges
            .expect("a counter")
            .parse::<u64>()
            .expect("a number")
            >= 1
    );

    // Later by the authority's clock, too, which is the system's, so that the next one is in time.
    std::thread::sleep(Duration::from_secs(3));
    let mut open = scene.client().try_connect_as(DOMAIN).expect("a handshake");
    // Due for the first one, which is three seconds old, and not yet for the one that comes now.
    let due = real_time()
        .plus(LIFETIME * 2 / 3)
        .minus(Duration::from_secs(3));
    scene.clock.advance(due.since(scene.clock.wall()));
    let second = scene.renewed(&first);
    open.ask("GET", "/healthz", "", b"");
    assert_eq!(open.reply().expect("it goes on").status, 200);
    until("the success is noted", || {
        (scene.failures() == 0).then_some(())
    });

    drop(pebble);
    scene.restart();
    assert_eq!(scene.presented(), Some(second));
}

#[test]
fn an_account_that_the_authority_forgot_is_made_again() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let scene = Scene::start();
    until("a try", || (scene.failures() == 1).then_some(()));
    let pebble = scene.authority.run();
    scene.clock.advance(Duration::from_secs(60));
    let first = scene.obtained();
    until("the success is noted", || {
        (scene.failures() == 0).then_some(())
    });
    drop(pebble);
    let _pebble = scene.authority.run();
    scene.clock.advance(LIFETIME * 2 / 3);
    let account = scene.directory.path().join("relay.db.acme/account.json");
    until("the account is forgotten", || {
        (!account.exists()).then_some(())
    });
    assert_eq!(scene.presented().as_ref(), Some(&first));
    scene.clock.advance(Duration::from_secs(61));
    scene.renewed(&first);
}

#[test]
fn a_clock_that_is_years_ahead_asks_once_and_then_waits() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let scene = Scene::start();
    until("a try", || (scene.failures() == 1).then_some(()));
    let _pebble = scene.authority.run();
    scene.clock.advance(Duration::from_secs(3 * 365 * 86_400));
    let first = scene.obtained();
    // The longest wait at once.
    scene.has_failed(32);
    scene.clock.advance(Duration::from_secs(5 * 3600));
    // Nothing tells that the agent has looked at its clock and waits on.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(scene.presented(), Some(first.clone()));
    scene.clock.advance(Duration::from_secs(3601));
    scene.renewed(&first);
}

#[test]
fn a_name_that_cannot_be_proved_is_refused_and_tried_later() {
    needs_a_file!("the state of ACME stands beside it");
    if !has_pebble() {
        return;
    }
    let scene = Scene::start();
    until("a try", || (scene.failures() == 1).then_some(()));
    // It checks another port, where nobody listens.
    let _pebble = scene.authority.run_checking(free_port());
    scene.clock.advance(Duration::from_secs(60));
    until("another try", || (scene.failures() == 2).then_some(()));
    let admin = scene.relay.admin();
    assert_eq!(admin.send("GET", "/readyz", &[], b"").status, 503);
}
