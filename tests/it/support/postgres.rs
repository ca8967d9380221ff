//! A PostgreSQL of the tests' own: started once a test binary, ended and removed with it.
//!
//! `RELAY_TEST_POSTGRES` names a server that is there instead, by a URL of a user who may create
//! databases. Without either the tests are skipped, unless `RELAY_REQUIRE_POSTGRES` is 1.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Says why tests of PostgreSQL don't run.
const SKIPPED: &str = "skipped: no PostgreSQL (apt-get install postgresql, or \
                       RELAY_TEST_POSTGRES=postgres://…)";

/// The user who runs the server when the tests run as root, whom `initdb` refuses. The package
/// makes it.
const USER: &str = "postgres";

/// Starts a server below a directory of its own and ends it with its standard input, which is this
/// process's: however this process ends, nothing is left. `$1` is the folder of the programs. A
/// line says where the server listens; the server's own lines go into a file there.
const SCRIPT: &str = r#"
set -eu
directory=$(mktemp -d "$2/relay-postgres.XXXXXX")
trap 'rm -rf "$directory"' EXIT
"$1/initdb" --pgdata "$directory/data" --username postgres --auth trust --no-sync --locale C \
    --encoding UTF8 >"$directory/log" 2>&1 || { cat "$directory/log" >&2; exit 1; }
"$1/postgres" -D "$directory/data" -k "$directory" -c listen_addresses= -c max_connections=400 \
    -c shared_buffers=64MB -c max_wal_size=4GB >"$directory/log" 2>&1 &
server=$!
until "$1/pg_isready" -q -h "$directory" -U postgres; do
    kill -0 "$server" || { cat "$directory/log" >&2; exit 1; }
done
echo "$directory"
read -r _ || true
kill -INT "$server"
wait "$server" || true
"#;

/// A server for tests.
pub struct Server {
    /// The URL of its maintenance database.
    url: String,
    /// The folder of the client programs; none if they are found by the path.
    programs: Option<PathBuf>,
    /// Ends the server when its standard input ends.
    _keeper: Option<Child>,
}

/// The server of this test binary; none, and a line that says so, if there is no PostgreSQL.
///
/// # Panics
///
/// If it doesn't start, or isn't there though `RELAY_REQUIRE_POSTGRES` is 1.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        if let Some(url) = set("RELAY_TEST_POSTGRES") {
            return Some(Server::at(url));
        }
        // Memory syncs at once, and these databases need not outlive the process.
        let memory = Path::new("/dev/shm");
        let below = if memory.is_dir() {
            memory
        } else {
            Path::new("/tmp")
        };
        start(below)
    });
    if server.is_none() {
        let is_required = set("RELAY_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
        assert!(!is_required, "{SKIPPED}");
        // Past the capture of a test's output: a skipped test must not look like one that ran.
        let _ = writeln!(std::io::stderr(), "{SKIPPED}");
    }
    server.as_ref()
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder with the programs of the newest version that is installed.
pub fn programs() -> Option<PathBuf> {
    let config = Command::new("pg_config").arg("--bindir").output().ok();
    let named = config.map(|output| PathBuf::from(text(&output.stdout).trim()));
    let version = |path: &PathBuf| {
        let version = path.parent()?.file_name()?.to_str()?;
        version.parse::<u32>().ok()
    };
    let mut packaged: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    packaged.sort_by_key(version);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<_> = std::env::split_paths(&path).collect();
    named
        .into_iter()
        .chain(packaged.into_iter().rev())
        .chain(on_path)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
    })
}

/// A command that a user other than root runs, whom PostgreSQL refuses.
pub fn command(program: &OsStr) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
        .arg(program);
    command
}

/// Starts a server below this folder; none if PostgreSQL isn't installed.
///
/// # Panics
///
/// If it doesn't start.
pub fn start(below: &Path) -> Option<Server> {
    let programs = programs()?;
    let mut command = command(OsStr::new("sh"));
    let mut keeper = command
        .args(["-c", SCRIPT, "sh"])
        .args([&programs, below])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell, and setpriv for root");
    let mut line = String::new();
    let output = keeper.stdout.take().expect("a pipe");
    let read = BufReader::new(output).read_line(&mut line);
    let directory = line.trim();
    assert!(
        read.is_ok() && !directory.is_empty(),
        "PostgreSQL doesn't start"
    );
    Some(Server {
        url: format!("postgres:///postgres?host={directory}&user=postgres"),
        programs: Some(programs),
        _keeper: Some(keeper),
    })
}

impl Server {
    /// A server that listens here already.
    pub fn at(url: String) -> Self {
        Self {
            url,
            programs: programs(),
            _keeper: None,
        }
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn create_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("relay_test_{}_{number}", std::process::id());
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        self.query(&self.url, &create, &[]);
        with_database(&self.url, &name)
    }

    /// Drops a database that [`Server::create_database`] made, with its connections.
    pub fn drop_database(&self, url: &str) {
        let (_, name) = split(url);
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        self.query(&self.url, &drop, &[]);
    }

    /// Returns the text that psql prints for a query, unaligned, without headings. `options` are
    /// further ones of psql.
    ///
    /// # Panics
    ///
    /// If the query fails.
    pub fn query(&self, url: &str, sql: &str, options: &[&OsStr]) -> Vec<u8> {
        let psql = match &self.programs {
            Some(folder) if folder.join("psql").exists() => folder.join("psql"),
            _ => PathBuf::from("psql"),
        };
        let output = Command::new(psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(options)
            .args(["-c", sql, "-d", url])
            .stdin(Stdio::null())
            .output()
            .expect("psql is there");
        let error = text(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        output.stdout
    }
}

/// The parts of a URL around the name of its database.
fn split(url: &str) -> ((&str, &str), &str) {
    let (head, parameters) = url.split_at(url.find('?').unwrap_or(url.len()));
    let scheme = head.find("://").map_or(0, |at| at + 3);
    let name = head[scheme..]
        .find('/')
        .map_or(head.len(), |at| scheme + at + 1);
    ((&head[..name], parameters), &head[name..])
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let ((before, after), _) = split(url);
    let slash = if before.ends_with('/') { "" } else { "/" };
    format!("{before}{slash}{name}{after}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
