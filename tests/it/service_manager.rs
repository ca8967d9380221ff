//! A service manager such as systemd: it is told of the start, of reloads and of the stop, feeds a
//! watchdog, and passes sockets.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Client, Process, free_port};

const TOML: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n\
                    [database]\nmin_free_bytes = 0\n";

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let patience = Some(Duration::from_secs(60));
        socket
            .set_read_timeout(patience)
            .expect("a timeout above zero");
        Self { socket, path }
    }

    /// The next message but those of the watchdog.
    fn next(&self) -> Vec<String> {
        loop {
            let message = self.any();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    fn any(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let read = self
            .socket
            .recv(&mut bytes)
            .expect("a message within a minute");
        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// Reads messages up to one that holds a line.
    fn until(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|one| one == line) {
                return message;
            }
        }
    }
}

fn serve(directory: &Path, manager: &Manager, variables: &[(&str, &str)]) -> Process {
    let mut command = Process::command(directory);
    command.arg("serve").env("NOTIFY_SOCKET", &manager.path);
    command.envs(variables.iter().copied());
    Process::serve_by(command, directory, TOML)
}

fn starts(message: &[String], beginnings: &[&str]) {
    assert_eq!(message.len(), beginnings.len(), "{message:?}");
    for (line, beginning) in message.iter().zip(beginnings) {
        assert!(line.starts_with(beginning), "{message:?}");
    }
}

#[test]
fn the_start_each_reload_and_the_stop_are_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = Manager::new(directory.path());
    let mut process = serve(directory.path(), &manager, &[]);
    starts(
        &manager.next(),
        &["EXTEND_TIMEOUT_USEC=30000000", "STATUS=starting"],
    );
    let ready = manager.until("READY=1");
    let address = process.client.address();
    assert_eq!(
        ready,
        [
            "READY=1".to_owned(),
            format!("STATUS=serving at http://{address}")
        ]
    );

    let reloading = ["RELOADING=1", "MONOTONIC_USEC="];
    process.signal("-HUP");
    starts(&manager.next(), &reloading);
    starts(&manager.next(), &["READY=1"]);
    // A dry run reloads nothing; the refusal that follows ends as a reload does.
    process.signal("-USR1");
    process.wait_for_line("a reload would succeed");
    std::fs::write(directory.path().join("relay.toml"), "nonsense = 1\n").expect("writing it");
    process.signal("-HUP");
    starts(&manager.next(), &reloading);
    starts(&manager.next(), &["READY=1"]);
    process.wait_for_line("was not reloaded");

    process.signal("-TERM");
    let stopping = [
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=25000000",
        "STATUS=stopping",
    ];
    starts(&manager.next(), &stopping);
    assert!(process.ended().success());
}

#[test]
fn a_watchdog_is_fed_thrice_in_its_time_and_that_of_another_process_never() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = Manager::new(directory.path());
    let process = serve(directory.path(), &manager, &[("WATCHDOG_USEC", "600000")]);
    manager.until("READY=1");
    for _ in 0..4 {
        assert_eq!(manager.any(), ["WATCHDOG=1"]);
    }
    process.kill();

    let variables = [("WATCHDOG_USEC", "3000"), ("WATCHDOG_PID", "1")];
    std::fs::remove_file(&manager.path).expect("it is there");
    let manager = Manager::new(directory.path());
    let mut process = serve(directory.path(), &manager, &variables);
    manager.until("READY=1");
    process.signal("-TERM");
    starts(
        &manager.any(),
        &["STOPPING=1", "EXTEND_TIMEOUT_USEC=", "STATUS="],
    );
    assert!(process.ended().success());
}

#[test]
fn a_service_manager_that_is_gone_does_no_harm() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = Manager::new(directory.path());
    std::fs::remove_file(&manager.path).expect("it is there");
    let process = serve(directory.path(), &manager, &[("WATCHDOG_USEC", "3000")]);
    assert_eq!(process.client.send("GET", "/healthz", &[], b"").status, 200);
    let says = "the service manager (NOTIFY_SOCKET) can't be told anything";
    assert_eq!(process.begun.matches(says).count(), 1, "{}", process.begun);
}

/// A server that is passed sockets, as descriptors 3 and 4. A shell puts them there, so that the
/// process has the number in `LISTEN_PID`.
fn passing(directory: &Path, sockets: &[&TcpListener], variables: &str) -> Command {
    let count = sockets.len();
    let script = format!(
        "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$ LISTEN_FDS={count}; \
         {variables} exec \"$RELAY\" serve"
    );
    let mut command = Command::new("sh");
    let place = |at: usize| match sockets.get(at) {
        Some(socket) => Stdio::from(OwnedFd::from(socket.try_clone().expect("a descriptor"))),
        None => Stdio::null(),
    };
    command
        .current_dir(directory)
        .env_clear()
        .env("RELAY", env!("CARGO_BIN_EXE_relay"))
        .args(["-c", &script])
        .stdin(place(0))
        .stdout(place(1))
        .stderr(Stdio::piped());
    command
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

#[test]
fn passed_sockets_are_served_and_outlive_the_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (public, admin) = (socket(), socket());
    let at = |socket: &TcpListener| socket.local_addr().expect("an address");
    let toml = "[server]\nlisten = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:2\"\n\
                [database]\nmin_free_bytes = 0\n";
    let names = "LISTEN_FDNAMES=admin:server";
    let command = passing(directory.path(), &[&admin, &public], names);
    let mut process = Process::serve_by(command, directory.path(), toml);
    assert_eq!(process.client.address(), at(&public));
    assert_eq!(
        process.admin.as_ref().expect("an admin listener").address(),
        at(&admin)
    );
    for key in ["server.listen", "admin.listen"] {
        assert!(process.begun.contains(key), "{}", process.begun);
    }
    assert_eq!(process.client.send("GET", "/healthz", &[], b"").status, 200);
    let metrics = Client::of_admin(at(&admin)).send("GET", "/metrics", &[], b"");
    assert_eq!(metrics.status, 200);
    process.signal("-TERM");
    assert!(process.ended().success());

    // Nobody serves, and nobody is refused: the connection waits for the next process.
    let mut waiting = TcpStream::connect(at(&public)).expect("the kernel takes it");
    std::io::Write::write_all(&mut waiting, b"GET /healthz HTTP/1.0\r\n\r\n").expect("sent");
    let command = passing(directory.path(), &[&admin, &public], names);
    let process = Process::serve_by(command, directory.path(), toml);
    let mut answer = String::new();
    waiting
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout above zero");
    std::io::Read::read_to_string(&mut waiting, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    drop(process);
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let public = socket();
    let command = passing(
        directory.path(),
        &[&public],
        "LISTEN_PID=1 LISTEN_FDNAMES=server",
    );
    let process = Process::serve_by(command, directory.path(), TOML);
    assert_ne!(
        process.client.address(),
        public.local_addr().expect("an address")
    );
}

#[test]
fn a_socket_that_cannot_be_served_stops_the_start_and_names_the_variable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let public = socket();
    let toml = TOML.replace("listen = \"\"", "listen = \"127.0.0.1:0\"");
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing it");
    for (sockets, names, says) in [
        (
            vec![&public],
            "LISTEN_FDNAMES=metrics",
            "expected \"server\" or \"admin\"",
        ),
        (
            vec![&public, &public],
            "LISTEN_FDNAMES=server:server",
            "comes twice",
        ),
        // Off loopback without a token, whatever relay.toml says.
        (
            vec![&everywhere],
            "LISTEN_FDNAMES=admin",
            "admin.listen: 0.0.0.0:",
        ),
    ] {
        let output = passing(directory.path(), &sockets, names)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(says),
            "{says}: {text}"
        );
    }
}

#[test]
fn systemd_passes_a_socket() {
    if Command::new("systemd-socket-activate")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: systemd-socket-activate isn't installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    std::fs::write(directory.path().join("relay.toml"), TOML).expect("writing it");
    let mut child = Command::new("systemd-socket-activate")
        .current_dir(directory.path())
        .args(["--fdname=server", "-l", &address.to_string()])
        .args([env!("CARGO_BIN_EXE_relay"), "serve"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let healthy = crate::support::until("an answer", || {
        TcpStream::connect(address).ok()?;
        Client::of(address).try_send("GET", "/healthz", &[], b"")
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(healthy.status, 200);
}
