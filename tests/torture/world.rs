//! The world of a scene: a server process under the shim, its load, and its receiver.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::judge::{Hit, Journal, digest, number};
use crate::load::{Address, Load, Target};
use crate::shim::Shim;
use crate::support::{Answer, Arrival, Client, KEY, Receiver, until};

type Script = Box<dyn Fn(&Arrival) -> Answer + Send + Sync>;

pub struct World {
    pub directory: tempfile::TempDir,
    pub shim: Arc<Shim>,
    pub journal: Arc<Journal>,
    pub receiver: Receiver,
    script: Arc<RwLock<Script>>,
    address: Address,
    server: Option<Server>,
    /// Whether the shim records operations.
    pub records: bool,
    /// Sections to add to relay.toml.
    pub more: String,
    /// The number of the next load's first event.
    pub first: u64,
    /// The pause of each of the load's clients after a request.
    pub pace: Duration,
    /// Environment variables of the server.
    pub environment: Vec<(&'static str, String)>,
}

struct Server {
    child: Child,
    log: JoinHandle<String>,
}

/// A server that goes on beside the next one that the world starts. Its load still sends to it.
pub struct Predecessor {
    server: Server,
    address: Address,
}

/// How a server ended.
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl World {
    pub fn new() -> Self {
        let journal = Arc::new(Journal::new());
        let script: Arc<RwLock<Script>> = Arc::new(RwLock::new(Box::new(|_| Answer::status(200))));
        let receiver = {
            let (journal, script) = (Arc::clone(&journal), Arc::clone(&script));
            Receiver::start(move |arrival| {
                let script = script.read().unwrap_or_else(PoisonError::into_inner);
                // A truncated request arrives without a body and doesn't count.
                if arrival.body.is_empty() {
                    return Answer::status(400);
                }
                let answer = script(arrival);
                let id = arrival.header("webhook-id");
                journal.hit(Hit {
                    n: number(&arrival.body),
                    id: id.to_owned(),
                    body: digest(&arrival.body),
                    at: journal.now(),
                    answered: answer.status,
                });
                answer
            })
        };
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            shim: Arc::new(Shim::new()),
            journal,
            receiver,
            script,
            address: Arc::new(Mutex::new(None)),
            server: None,
            records: false,
            more: String::new(),
            first: 0,
            pace: Duration::ZERO,
            environment: Vec::new(),
        }
    }

    /// Sets the receiver's answers.
    pub fn answers(&self, script: impl Fn(&Arrival) -> Answer + Send + Sync + 'static) {
        *self.script.write().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    pub fn database(&self) -> PathBuf {
        self.directory.path().join("data/relay.db")
    }

    /// The directory of the server's database, which holds nothing else.
    pub fn data(&self) -> PathBuf {
        let data = self.directory.path().join("data");
        std::fs::create_dir_all(&data).expect("a directory");
        data
    }

    /// A command of the relay binary under the shim, with this world's configuration.
    pub fn command(&self) -> Command {
        let toml = format!(
            r#"
[server]
listen = "127.0.0.1:0"
shutdown_grace = "2s"
[admin]
listen = ""
[database]
path = "data/relay.db"
min_free_bytes = 0
[api]
keys = ["{KEY}"]
[api.rate_limit]
post = {{ per_second = 100000, burst = 100000 }}
get = {{ per_second = 100000, burst = 100000 }}
[destinations.orders]
url = "{}"
[sources.github]
destinations = ["orders"]
[delivery]
workers = 16
allow_networks = ["127.0.0.0/8"]
[delivery.defaults]
retry = {{ schedule = ["50ms", "100ms", "100ms", "100ms", "200ms", "500ms", "1s", "1s", "1s", "1s", "1s"] }}
{}
"#,
            self.receiver.url("/event"),
            self.more
        );
        std::fs::write(self.directory.path().join("relay.toml"), toml).expect("relay.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command
            .current_dir(self.directory.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.shim.load(&mut command, &self.data(), self.records);
        command
    }

    /// Starts the server; returns the time until it was ready.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    pub fn start(&mut self) -> Duration {
        self.try_start()
            .unwrap_or_else(|ended| panic!("it doesn't start: {}", ended.log))
    }

    /// Starts the server, unless it ends before it listens.
    pub fn try_start(&mut self) -> Result<Duration, Ended> {
        let begun = Instant::now();
        let mut command = self.command();
        let mut child = command.arg("serve").spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut log = String::new();
        let address = loop {
            let before = log.len();
            if lines.read_line(&mut log).expect("its log is text") == 0 {
                let status = child.wait().expect("it ended");
                return Err(Ended { status, log });
            }
            if let Some((_, rest)) = log[before..].split_once("listening at http://") {
                let address = rest.split(['"', ' ', '\n']).next().expect("an address");
                break address.parse().expect("an address");
            }
        };
        let is_ready = until("it is ready, or has ended", || {
            if child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            let reply = Client::of(address).try_send("GET", "/readyz", &[], b"");
            reply.filter(|reply| reply.status == 200).map(|_| true)
        });
        let took = begun.elapsed();
        let log = std::thread::spawn(move || {
            while lines.read_line(&mut log).is_ok_and(|read| read > 0) {}
            log
        });
        if !is_ready {
            let status = child.wait().expect("it ended");
            let log = log.join().expect("its log is text");
            return Err(Ended { status, log });
        }
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        self.server = Some(Server { child, log });
        Ok(took)
    }

    /// Takes over a server that was started elsewhere, and whose log isn't read.
    pub fn adopt(&mut self, child: Child, address: std::net::SocketAddr) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        let log = std::thread::spawn(String::new);
        self.server = Some(Server { child, log });
    }

    pub fn client(&self) -> Client {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        Client::of(address.expect("a running server"))
    }

    pub fn process(&self) -> u32 {
        self.server.as_ref().expect("a running server").child.id()
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.process());
    }

    /// Kills the server.
    pub fn kill(&mut self) -> Ended {
        let server = self.server.as_mut().expect("a running server");
        // It may have ended by itself.
        let _ = server.child.kill();
        self.ended()
    }

    /// Asks the server to stop, and waits.
    pub fn stop(&mut self) -> Ended {
        self.signal("-TERM");
        self.ended()
    }

    /// Whether the server has ended, without waiting for it.
    pub fn has_ended(&mut self) -> bool {
        let server = self.server.as_mut().expect("a running server");
        server.child.try_wait().expect("a child").is_some()
    }

    /// Waits for the server's end.
    pub fn ended(&mut self) -> Ended {
        let mut server = self.server.take().expect("a running server");
        let status = until("the server has ended", || {
            server.child.try_wait().expect("a child")
        });
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // The fault is recorded after the end, so that it is later than all of its requests.
        if !status.success() {
            self.journal.fault();
        }
        let log = server.log.join().expect("its log is text");
        Ended { status, log }
    }

    /// Sets the server aside, to start another one beside it.
    pub fn set_aside(&mut self) -> Predecessor {
        Predecessor {
            server: self.server.take().expect("a running server"),
            address: std::mem::take(&mut self.address),
        }
    }

    /// The target of a client's requests.
    pub fn target(&self) -> Target {
        Target {
            address: Arc::clone(&self.address),
            url: self.receiver.url("/relay"),
            journal: Arc::clone(&self.journal),
            shim: Arc::clone(&self.shim),
            pace: self.pace,
        }
    }

    /// Begins a load.
    pub fn load(&mut self, seed: u64, clients: u64, bytes: usize) -> Load {
        let target = self.target();
        let first = self.first;
        self.first += 1_000_000_000;
        Load::start(target, seed, clients, bytes, first)
    }

    /// Waits until nothing is pending.
    pub fn drain(&self) {
        let sql = rusqlite::Connection::open_with_flags(
            self.database(),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .expect("the database opens");
        until("nothing is pending", || {
            let pending: i64 = sql
                .query_row(
                    "SELECT count(*) FROM deliveries WHERE state < 3",
                    [],
                    |row| row.get(0),
                )
                .expect("a count");
            (pending == 0).then_some(())
        });
    }

    /// Waits until `enough` requests have been acknowledged in all.
    pub fn acknowledged(&self, enough: usize) {
        until("enough is acknowledged", || {
            (self.journal.acknowledged() >= enough).then_some(())
        });
    }
}

pub fn send(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args([signal, &process.to_string()])
        .status()
        .expect("kill is there");
    assert!(sent.success());
}

impl Predecessor {
    pub fn process(&self) -> u32 {
        self.server.child.id()
    }

    /// Waits for its end. Until then both servers may make the same deliveries.
    pub fn ended(&mut self, journal: &Journal) -> Ended {
        let status = until("the server has ended", || {
            journal.fault();
            self.server.child.try_wait().expect("a child")
        });
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
        journal.fault();
        let log = std::mem::replace(&mut self.server.log, std::thread::spawn(String::new));
        let log = log.join().expect("its log is text");
        Ended { status, log }
    }

    /// Redirects its load to the world's server.
    pub fn hand_over(&self, world: &World) {
        let address = *world.address.lock().unwrap_or_else(PoisonError::into_inner);
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        let _ = self.server.child.kill();
        let _ = self.server.child.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
    }
}
