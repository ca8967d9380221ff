//! Starts, failures and stops, embedded and as a process: each of them ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use relay::clock::{Clock, SystemClock, Timestamp};
use relay::model::Level;
use relay::{Config, OpenError, Relay, RelayError, StartError};

use crate::needs_a_file;
use crate::support::engine::is_postgres;
use crate::support::{Client, Process, config, event_id, relay_to, until};

const URL: &str = "http://127.0.0.1:9/";

/// A clock that hangs or panics when the thread of a given name asks for the time.
#[derive(Debug, Default)]
struct FaultyClock {
    clock: SystemClock,
    fault: Mutex<Fault>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Fault {
    hangs: Option<&'static str>,
    panics: Option<&'static str>,
    is_hanging: bool,
}

impl FaultyClock {
    fn tick(&self) {
        let thread = std::thread::current();
        let mut fault = self.fault.lock().expect("no panics");
        if fault.panics.is_some() && fault.panics == thread.name() {
            drop(fault);
            panic!("on purpose");
        }
        while fault.hangs.is_some() && fault.hangs == thread.name() {
            fault.is_hanging = true;
            self.changed.notify_all();
            fault = self.changed.wait(fault).expect("no panics");
        }
    }

    fn hang(&self, thread: &'static str) {
        self.fault.lock().expect("no panics").hangs = Some(thread);
    }

    fn panic(&self, thread: &'static str) {
        self.fault.lock().expect("no panics").panics = Some(thread);
    }

    /// Waits until the thread hangs.
    fn wait_until_it_hangs(&self) {
        let fault = self.fault.lock().expect("no panics");
        let hangs = self.changed.wait_while(fault, |fault| !fault.is_hanging);
        drop(hangs.expect("no panics"));
    }

    fn recover(&self) {
        *self.fault.lock().expect("no panics") = Fault::default();
        self.changed.notify_all();
    }
}

impl Clock for FaultyClock {
    fn now(&self) -> Timestamp {
        self.tick();
        self.clock.now()
    }
    fn wall(&self) -> Timestamp {
        self.tick();
        self.clock.wall()
    }
    fn monotonic(&self) -> Duration {
        self.tick();
        self.clock.monotonic()
    }
    fn ahead(&self) -> i64 {
        self.clock.ahead()
    }
    fn resume(&self, now: Timestamp) {
        self.clock.resume(now);
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn without_grace(directory: &Path) -> Config {
    let mut config = config(directory, URL);
    config.server.shutdown_grace = Duration::from_millis(1);
    config
}

/// Stops a relay while its thread `thread` hangs, and runs `meanwhile` before the thread goes on.
/// Returns the result of the stop.
fn stop_while_it_hangs(
    thread: &'static str,
    meanwhile: impl FnOnce(&Path),
) -> Result<(), RelayError> {
    let directory = directory();
    let clock = Arc::new(FaultyClock::default());
    let start = || Relay::start(without_grace(directory.path()));
    let relay = Relay::start_with_clock(
        without_grace(directory.path()),
        Arc::<FaultyClock>::clone(&clock),
    )
    .expect("it starts");
    clock.hang(thread);
    let client = Client::of(relay.address());
    // Makes each kind of thread ask for the time; the answer doesn't matter.
    let asked = std::thread::spawn(move || {
        client.try_send(
            "POST",
            "/webhooks/github",
            &[("Idempotency-Key", "1")],
            b"{}",
        )
    });
    clock.wait_until_it_hangs();
    let stopped = relay.stop();
    meanwhile(directory.path());
    clock.recover();
    drop(asked.join().expect("the client only sends"));
    // When the thread goes on, it releases the database.
    let next = until("the next start", || start().ok());
    next.stop().expect("a stop");
    stopped
}

fn assert_names(part: &str, stopped: &Result<(), RelayError>) {
    match stopped {
        Err(RelayError::Stuck(parts)) => assert!(parts.contains(part), "{parts}"),
        other => panic!("{part}: the stop says {other:?}"),
    }
}

#[test]
fn a_stop_names_a_hanging_part_and_gives_it_up() {
    let mut cases = vec![
        ("relay-maintenance", "maintenance"),
        ("relay-http", "HTTP threads"),
    ];
    if relay::COMPILED_LEVEL != Level::Off {
        cases.push(("relay-dispatcher", "delivery dispatcher"));
    }
    std::thread::scope(|scope| {
        for (thread, part) in cases {
            scope.spawn(move || {
                assert_names(part, &stop_while_it_hangs(thread, |_| {}));
            });
        }
    });
}

#[test]
fn the_database_stays_locked_while_its_writer_hangs() {
    needs_a_file!("a lock beside it keeps a second relay out");
    let stopped = stop_while_it_hangs("relay-writer", |directory| {
        let second = Relay::start(without_grace(directory)).map(drop);
        let Err(StartError::Open(OpenError::InUse { .. })) = second else {
            panic!("two writers of one database: {second:?}");
        };
    });
    assert_names("database writer", &stopped);
}

/// A worker may be in a connect or a look-up, which can't be interrupted.
#[test]
fn a_stop_succeeds_although_a_worker_hangs() {
    needs_a_file!("its rows are read");
    if relay::COMPILED_LEVEL == Level::Off {
        return;
    }
    let stopped = stop_while_it_hangs("relay-worker", |directory| {
        // The worker's delivery has been handed back.
        let sql = rusqlite::Connection::open(directory.join("relay.db")).expect("a database");
        let claimed = "SELECT count(*) FROM deliveries WHERE claim IS NOT NULL";
        let claimed = sql.query_row(claimed, [], |row| row.get::<_, i64>(0));
        assert_eq!(claimed, Ok(0));
    });
    stopped.expect("nothing is lost by it");
}

/// Runs a test within each kind of runtime.
fn in_asynchronous_code(test: impl AsyncFn()) {
    let current = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    current.expect("a runtime").block_on(test());
    let several = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    several.expect("a runtime").block_on(test());
}

#[test]
fn a_failed_start_in_asynchronous_code_is_an_error_and_leaves_nothing_behind() {
    in_asynchronous_code(async || {
        let directory = directory();
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let taken = holder.local_addr().expect("an address");
        let refused = |change: &dyn Fn(&mut Config)| {
            let mut config = config(directory.path(), URL);
            change(&mut config);
            let refused = Relay::start(config).map(drop);
            refused.expect_err("it must not start").to_string()
        };
        let said = refused(&|config| config.delivery.workers = 0);
        assert!(said.contains("delivery.workers"), "{said}");
        let said = refused(&|config| config.server.listen = taken);
        assert!(said.contains("server.listen"), "{said}");
        let said = refused(&|config| config.admin.listen = Some(taken));
        assert!(said.contains("admin.listen"), "{said}");
        if !is_postgres() {
            let other = directory.path().join("other.db");
            std::fs::write(&other, "not a database ".repeat(1_000)).expect("a file");
            let said = refused(&|config| config.database.path.clone_from(&other));
            assert!(said.contains("not a database"), "{said}");
        }
        if relay::COMPILED_LEVEL >= Level::Http {
            // Fails after the database was opened and its writer started.
            let said = refused(&|config| {
                let orders = config.destinations.get_mut("orders").expect("it is there");
                orders.ca_file = Some("nowhere.pem".into());
            });
            assert!(said.contains("ca_file"), "{said}");
        }
        // The failed starts hold neither the database nor an address.
        let relay = Relay::start(config(directory.path(), URL)).expect("it starts");
        relay.stop().expect("a stop");
    });
}

#[test]
fn a_relay_can_be_used_from_asynchronous_code() {
    in_asynchronous_code(async || {
        let directory = directory();
        let relay = Relay::start(config(directory.path(), URL)).expect("it starts");
        let client = Client::of(relay.address());
        let id = event_id(&client.hook("1", b"{}"));
        assert_eq!(relay.replay(&id).ok(), Some(0));
        relay.wait(async {}).expect("nothing failed");
        // A timer in this future is driven by the relay's runtime.
        let timer = async { tokio::time::sleep(Duration::from_millis(1)).await };
        relay.wait(timer).expect("nothing failed");
        assert!(relay.is_running());
        relay.stop().expect("a stop");
        // A drop stops the relay, too.
        drop(Relay::start(config(directory.path(), URL)).expect("it starts"));
    });
}

#[test]
fn a_fatal_error_is_seen_without_waiting_and_returned_by_the_stop() {
    for thread in ["relay-writer", "relay-maintenance"] {
        in_asynchronous_code(async || {
            let directory = directory();
            let clock = Arc::new(FaultyClock::default());
            let mut config = config(directory.path(), URL);
            config.server.shutdown_grace = Duration::from_secs(3_600);
            let relay = Relay::start_with_clock(config, Arc::<FaultyClock>::clone(&clock));
            let relay = relay.expect("it starts");
            assert_eq!((relay.is_running(), relay.failed()), (true, None));
            let mut failure = pin!(relay.failure());
            let mut context = Context::from_waker(Waker::noop());
            assert!(failure.as_mut().poll(&mut context).is_pending());
            // A slow request must not keep the relay running for the hour of its grace.
            let mut drip = Client::of(relay.address()).connect();
            let head = "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
            assert!(drip.send(head.as_bytes()));
            clock.panic(thread);
            let error = failure.await.to_string();
            assert!(error.contains("panicked"), "{error}");
            assert!(!relay.is_running());
            assert_eq!(relay.failed().as_ref(), Some(&error));
            let waited = relay.wait(std::future::pending());
            assert_eq!(waited.expect_err("it failed").to_string(), error);
            let stopped = relay.stop().expect_err("it failed");
            assert!(matches!(stopped, RelayError::Fatal(_)), "{stopped:?}");
            assert_eq!(stopped.to_string(), error);
        });
    }
}

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\nshutdown_grace = '1h'\nrequest_timeout = '5m'\n[admin]\nlisten = ''\n\
                    [database]\nmin_free_bytes = 0\n[api]\nkeys = ['test-key']\n";

#[test]
fn a_signal_ends_a_hanging_start() {
    let directory = directory();
    let fifo = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    for signal in ["-TERM", "-INT"] {
        let mut child = Process::command(directory.path())
            .args(["serve", "--config", "fifo"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // The open returns when the start has opened the other end and waits for a configuration.
        let _config = std::fs::File::options().write(true).open(&fifo);
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
        let status = until("it ends", || child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(1), "{signal}: {status}");
    }
}

#[test]
fn a_signal_during_a_successful_start_is_an_orderly_stop() {
    let directory = directory();
    let fifo = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    let mut child = Process::command(directory.path())
        .args(["serve", "--config", "fifo"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let config = std::fs::File::options().write(true).open(&fifo);
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill is there").success());
    std::io::Write::write_all(&mut config.expect("a pipe"), TOML.as_bytes()).expect("it reads");
    let status = until("it ends", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Damages the database of a running server so that its next read is fatal.
fn damage(process: &Process, directory: &Path) {
    let wal = directory.join("relay.db-wal");
    until("the WAL is emptied", || {
        let length = wal.metadata().ok()?.len();
        (length == 0).then_some(())
    });
    let database = directory.join("relay.db");
    let length = database.metadata().expect("a database").len();
    let garbage = vec![b'x'; usize::try_from(length).expect("a small file")];
    std::fs::write(&database, garbage).expect("writing");
    let headers = [("X-API-Key", crate::support::KEY)];
    let reply = process.client.try_send("GET", "/v1/relays", &headers, b"");
    assert!(reply.is_none_or(|reply| reply.status >= 500));
}

#[test]
fn a_fatal_error_ends_the_process_without_waiting_for_its_grace() {
    needs_a_file!("it is damaged");
    let directory = directory();
    let mut process = Process::serve(directory.path(), TOML);
    let mut drip = process.client.connect();
    let body = relay_to(URL, "{}");
    let head = format!(
        "POST /v1/relays HTTP/1.1\r\nHost: a\r\nX-API-Key: test-key\r\nContent-Length: {}\r\n\r\n{{",
        body.len()
    );
    assert!(drip.send(head.as_bytes()));
    damage(&process, directory.path());
    until("it ends", || process.has_ended().then_some(()));
    let (status, log) = process.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(log.matches("fatal: ").count(), 1, "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("relay.db: "), "{log}");
}

/// Opens a connection, asks the relay to stop, and sends a request when it stops. Returns the
/// answer's first bytes.
fn answer_to_a_request_behind_the_stop() -> Vec<u8> {
    let directory = directory();
    let relay = Relay::start(config(directory.path(), URL)).expect("a start");
    let address = relay.address();
    let mut stream = TcpStream::connect(address).expect("it listens");
    let until_accepted = TcpStream::connect(address).expect("it listens");
    drop(until_accepted);
    std::thread::scope(|scope| {
        scope.spawn(|| relay.stop().expect("an orderly stop"));
        until("nobody is accepted any more", || {
            TcpStream::connect(address).err()
        });
        let mut answer = vec![0; 12];
        let request = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n";
        let answered = stream
            .write_all(request)
            .and_then(|()| stream.read_exact(&mut answer));
        if answered.is_ok() { answer } else { Vec::new() }
    })
}

/// While systemd holds the socket, an upgrade is to refuse nobody: not a client either whose
/// connection was accepted when the stop began.
#[test]
fn a_request_is_answered_on_a_connection_that_was_accepted_just_before_the_stop() {
    // A machine that is busy may take longer for a try than a connection is kept.
    let answered = (0..20).any(|_| answer_to_a_request_behind_the_stop() == b"HTTP/1.1 200");
    assert!(answered);
}
