//! The relay's sessions as the server and a pooler see them.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::{Scene, in_order, started};
use crate::support::own_server::OwnServer;
use crate::support::{Client, event_id, free_port, postgres, until};

/// Sends events until it is told to stop, as several clients.
fn load<T>(client: &Client, beside: impl FnOnce() -> T) -> (T, i64) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = [0, 1, 2, 3].map(|number| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut sent = 0;
                while !is_over.load(Ordering::Relaxed) {
                    sent += 1;
                    event_id(&client.hook(&format!("{number} {sent}"), b"{\"line\": \"one\"}"));
                }
                sent
            })
        });
        let made = beside();
        is_over.store(true, Ordering::Relaxed);
        let sent = clients.map(|client| client.join().expect("no panic"));
        (made, sent.iter().sum())
    })
}

#[test]
fn no_transaction_waits_for_the_relay() {
    let Some(server) = started() else {
        return;
    };
    let url = server.server().create_database();
    let through = url.clone();
    let scene = Scene::on(server, url, |_| through, in_order);
    // One that is sent at once has such a state between two of its statements, for microseconds; a
    // busy machine makes them longer.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relay'
         AND state LIKE 'idle in transaction%'
         AND state_change < clock_timestamp() - interval '500 milliseconds'";
    let (samples, sent) = load(&scene.relay.client, || {
        let mut samples = 0;
        while samples < 100 {
            assert_eq!(scene.count(waiting), 0);
            samples += 1;
        }
        samples
    });
    println!("{samples} samples beside {sent} events");
    assert!(sent > 50, "hardly any load");
}

/// A pooler of sessions, in transaction mode.
struct Pooler {
    child: Child,
    port: u16,
    /// Of its configuration.
    _directory: TempDir,
}

/// The oldest version that keeps prepared statements in transaction mode.
const OLDEST: (u32, u32) = (1, 21);

fn version() -> Option<(u32, u32)> {
    let output = Command::new(program()).arg("--version").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let number = said.split_whitespace().nth(1)?;
    let mut parts = number.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn program() -> PathBuf {
    let named = std::env::var_os("RELAY_TEST_PGBOUNCER").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from("/usr/sbin/pgbouncer"))
}

/// A directory that the server's user can read, too.
fn readable_directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let everybody = Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).expect("it is ours");
    directory
}

impl Pooler {
    /// A pooler before a server; none, and a line that says so, without a new one.
    fn start(server: &OwnServer) -> Option<Self> {
        if version().is_none_or(|version| version < OLDEST) {
            let found = version().map_or("none".to_owned(), |(a, b)| format!("{a}.{b}"));
            let named = std::env::var_os("RELAY_TEST_PGBOUNCER");
            assert!(
                named.is_none(),
                "{named:?}: PgBouncer {found}, expected 1.21"
            );
            let _ = writeln!(
                std::io::stderr(),
                "skipped: PgBouncer {found}, expected 1.21 (RELAY_TEST_PGBOUNCER names another)"
            );
            return None;
        }
        let port = free_port();
        let socket = server.socket();
        let folder = socket.parent().expect("a folder").display().to_string();
        let directory = readable_directory();
        let text = format!(
            "[databases]\n* = host={folder} port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\nmax_prepared_statements = 250\n\
             ignore_startup_parameters = options\nmax_client_conn = 200\n",
            server.port()
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, text).expect("a file");
        let child = postgres::command(program().as_os_str())
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(Self {
            child: child.expect("it was found"),
            port,
            _directory: directory,
        })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_pooler_in_transaction_mode_is_enough() {
    let Some(server) = started() else {
        return;
    };
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let queries = server.server();
    let document = std::fs::read_to_string("docs/postgres.md").expect("the document");
    let settings = document
        .lines()
        .filter_map(|line| line.strip_prefix("ALTER ROLE relay SET "));
    let settings: Vec<_> = settings.collect();
    assert!(settings.len() > 5, "{settings:?}");
    for setting in settings {
        let set = format!("ALTER ROLE postgres SET {setting}");
        queries.query(&server.url(), &set, &[]);
    }
    let address = format!("127.0.0.1:{}", pooler.port);
    until("the pooler listens", || {
        std::net::TcpStream::connect(&address).ok()
    });
    let url = queries.create_database();
    let through = |name: &str| format!("postgres://postgres@{address}/{name}?sslmode=disable");
    let scene = Scene::on(server, url, through, in_order);
    let ((), sent) = load(&scene.relay.client, || {
        for _ in 0..100 {
            scene.receiver.next();
        }
    });
    until("everything is delivered", || {
        (scene.count("SELECT count(*) FROM waiting") == 0).then_some(())
    });
    assert_eq!(
        scene.count("SELECT count(*) FROM ended WHERE state = 3"),
        sent
    );
    // An event of another node, of which nobody tells: it is found by looking.
    let other = "INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
            SELECT (extract(epoch FROM now()) * 1000)::int8 << 12 | 31, 1, 1, 0, 'github', '', '{}';
        INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at)
            SELECT d.id, i.id >> 12, i.id, 0 FROM relay.destinations d, relay.intents i
            WHERE d.name = 'orders' AND i.id & 31 = 31";
    while scene
        .receiver
        .next_within(Duration::from_millis(1))
        .is_some()
    {}
    scene.queries.query(&scene.url, other, &[]);
    let found = scene.receiver.next_within(Duration::from_secs(5));
    assert!(found.is_some(), "it is never found");
}
