//! A server of one test's own, which the test may stop, restart and replace.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::postgres::{self, Server, is_root, programs, server};

/// Keeps a server below a directory of its own, and obeys the lines of its standard input, each
/// with a line that says so: `start`, `promote`, `tls` with the names of files, `room` on a small
/// disk, or a mode to stop by. `$1` is the folder of the programs, `$2` the port of TCP, `$3`
/// another server to follow as its standby, as options of `pg_basebackup`, or nothing. The server
/// and the directory end with the process that holds the standard input.
const SCRIPT: &str = r#"
set -eu
below=/tmp
[ -d /dev/shm ] && below=/dev/shm
directory=$(mktemp -d "$below/relay-postgres.XXXXXX")
log="$directory/log"
end() {
    "$bin/pg_ctl" -D "$directory/data" -m immediate stop >"$log" 2>&1 || true
    rm -rf "$directory"
}
bin=$1
trap end EXIT
if [ -n "$3" ]; then
    "$1/pg_basebackup" -h $3 -U postgres -D "$directory/data" -R -X stream -c fast >"$log" 2>&1
else
    "$1/initdb" --pgdata "$directory/data" --username postgres --auth trust --no-sync --locale C \
        --encoding UTF8 >"$log" 2>&1
fi
echo "$directory"
while read -r what; do
    case "$what" in
    start)
        tls=off
        if [ -s "$directory/server.pem" ]; then
            tls=on
        fi
        "$1/pg_ctl" -D "$directory/data" -w -l "$directory/server.log" -o "-k $directory -p $2 \
            -c listen_addresses=127.0.0.1 -c max_connections=60 -c shared_buffers=16MB \
            -c ssl=$tls -c ssl_cert_file=$directory/server.pem \
            -c ssl_key_file=$directory/server.key" start >"$log" 2>&1 ;;
    promote) "$1/pg_ctl" -D "$directory/data" -w promote >"$log" 2>&1 ;;
    room) rm /mnt/filler ;;
    tls) read -r file; install -m 600 "$file.pem" "$directory/server.pem"
        install -m 600 "$file.key" "$directory/server.key" ;;
    *) "$1/pg_ctl" -D "$directory/data" -w -m "$what" stop >"$log" 2>&1 ;;
    esac
    echo done
done
"#;

pub struct OwnServer {
    directory: PathBuf,
    port: u16,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    keeper: Child,
}

/// The folder of the [small disk](own_server_with_a_small_disk) that takes a tablespace.
pub const SMALL_DISK: &str = "/mnt/data";

/// Mounts the small disk where nobody else sees it, for the process that `$@` becomes. A filler
/// takes a third of it.
const SMALL: &str = r#"
set -eu
mount -t tmpfs -o size=36m,mode=711 tmpfs /mnt
mkdir -m 700 /mnt/data
fallocate -l 12m /mnt/filler
chown -R postgres /mnt
exec "$@"
"#;

/// A server that isn't started yet; none, and a line that says so, if PostgreSQL isn't installed.
pub fn own_server() -> Option<OwnServer> {
    server()?;
    let shell = postgres::command(OsStr::new("sh"));
    Some(keep(shell, &programs()?, ""))
}

/// The same with a small disk beside its own, at [`SMALL_DISK`]; none, and a line that says so, if
/// this process may not mount one.
pub fn own_server_with_a_small_disk() -> Option<OwnServer> {
    server()?;
    let mount = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SMALL, "sh", program]);
        command
    };
    let tried = mount("true").stderr(Stdio::null()).status();
    if !is_root() || !tried.is_ok_and(|status| status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a small disk can't be mounted here"
        );
        return None;
    }
    let shell = postgres::command(OsStr::new("sh"));
    let mut command = mount("setpriv");
    command.args(shell.get_args());
    Some(keep(command, &programs()?, ""))
}

fn keep(mut command: Command, programs: &Path, primary: &str) -> OwnServer {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let mut keeper = command
        .args(["-c", SCRIPT, "sh"])
        .arg(programs)
        .args([&port.to_string(), primary])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell, and setpriv for root");
    let mut output = BufReader::new(keeper.stdout.take().expect("a pipe"));
    let mut directory = String::new();
    output.read_line(&mut directory).expect("the directory");
    assert!(!directory.is_empty(), "initdb failed");
    OwnServer {
        directory: PathBuf::from(directory.trim()),
        port,
        input: keeper.stdin.take(),
        output,
        keeper,
    }
}

impl OwnServer {
    /// Does what the script knows, and waits until it is done.
    pub fn tell(&mut self, what: &str) {
        let input = self.input.as_mut().expect("not dropped");
        writeln!(input, "{what}").expect("the keeper lives");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert_eq!(line, "done\n", "{what}: {}", log());
    }

    /// Has it speak TLS from its next start on, as `localhost`. Returns the certificate of the
    /// authority that vouches for it, a file in this directory.
    pub fn use_tls(&mut self, directory: &Path) -> PathBuf {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("an authority");
        let issuer = Issuer::from_params(&params, &key);
        let own = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        let server = server.signed_by(&own, &issuer).expect("a certificate");
        // The server's user copies them.
        let public = Permissions::from_mode(0o755);
        std::fs::set_permissions(directory, public).expect("its mode");
        let write = |file: &str, text: String| {
            std::fs::write(directory.join(file), text).expect("written");
        };
        write("ca.pem", authority.pem());
        write("server.pem", server.pem());
        write("server.key", own.serialize_pem());
        self.tell(&format!("tls\n{}", directory.join("server").display()));
        directory.join("ca.pem")
    }

    /// Stops by a mode of `pg_ctl`, and starts again.
    pub fn restart(&mut self, mode: &str) {
        self.tell(mode);
        self.tell("start");
    }

    /// A standby of this one that isn't started yet.
    pub fn standby(&self) -> OwnServer {
        let programs = programs().expect("this server's programs");
        let host = self.directory.display().to_string();
        let shell = postgres::command(OsStr::new("sh"));
        keep(shell, &programs, &format!("{host} -p {}", self.port))
    }

    /// The URL of its maintenance database by the socket.
    pub fn url(&self) -> String {
        let host = self.directory.display();
        format!(
            "postgres:///postgres?host={host}&port={}&user=postgres",
            self.port
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that makes the others.
    pub fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let file = file.expect("it was started");
        let first = file.lines().next().and_then(|line| line.parse().ok());
        first.expect("a number")
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The server, for queries.
    pub fn server(&self) -> Server {
        Server::at(self.url())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    /// The address of TCP.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.keeper.wait();
    }
}
