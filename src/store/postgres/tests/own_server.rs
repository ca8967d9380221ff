//! A server of one test's own, which the test may stop, restart and replace.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::store::postgres::tests::server::{is_root, programs};

/// Keeps a server below a directory of its own, and obeys the lines of its standard input, each
/// with a line that says so: `start`, `promote`, `tls` with the names of files, or a mode to stop
/// by. `$1` is the folder of the programs, `$2` the port of TCP, `$3` another server to follow as
/// its standby, as options of `pg_basebackup`, or nothing. The server and the directory end with
/// the process that holds the standard input.
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

/// A server that isn't started yet; none, if PostgreSQL isn't installed.
pub fn own_server() -> Option<OwnServer> {
    Some(keep(&programs()?, ""))
}

fn keep(programs: &Path, primary: &str) -> OwnServer {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let user = [
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--clear-groups",
            "sh",
        ];
        command.args(user);
        command
    } else {
        Command::new("sh")
    };
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

    /// Stops by a mode of `pg_ctl`, and starts again.
    pub fn restart(&mut self, mode: &str) {
        self.tell(mode);
        self.tell("start");
    }

    /// A standby of this one that isn't started yet.
    pub fn standby(&self) -> OwnServer {
        let programs = programs().expect("this server's programs");
        let host = self.directory.display().to_string();
        keep(&programs, &format!("{host} -p {}", self.port))
    }

    /// The URL of its maintenance database by the socket.
    pub fn url(&self) -> String {
        let host = self.directory.display();
        format!(
            "postgres:///postgres?host={host}&port={}&user=postgres",
            self.port
        )
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
