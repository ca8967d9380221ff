//! The place where a document's commands run: a directory with a relay.toml, a server that serves
//! it, a receiver, and a shell that remembers variables and the working directory.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::words::Words;
use crate::support::{Answer, Client, Process, Receiver, TestRelay, event_id, until};

/// Ports below those that the system gives to others, so that a server finds its own again after a
/// restart.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// The body of an event that its destination refuses.
pub const REFUSED: &[u8] = br#"{"refused":true}"#;

/// The time after which an answer comes too late for any test.
const NEVER: Duration = Duration::from_secs(3_600);

pub struct Scene {
    directory: tempfile::TempDir,
    receiver: Receiver,
    public: SocketAddr,
    server: Option<Process>,
    /// A relay that speaks TLS, for a document that connects to one.
    pub tls: Option<TestRelay>,
    pub words: Words,
}

/// The other machine of a document is a directory of this one.
const SSH: &str = "#!/bin/sh\nshift\ncd \"$SCENE/backup-host\" && exec sh -c \"$*\"\n";

impl Scene {
    /// A working directory with nothing in it.
    pub fn bare() -> Self {
        let receiver = Receiver::start(|arrival| match &arrival.body[..] {
            _ if arrival.path.ends_with("/slow") => Answer::status(200).after(NEVER),
            REFUSED => Answer::status(400),
            _ => Answer::status(200),
        });
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let folders = ["bin", "shell", "work", "backups", "backup-host/relay"];
        let places = [
            "usr/local/bin",
            "usr/local/share/man/man1",
            "usr/share/bash-completion/completions",
            "usr/share/zsh/vendor-completions",
            "usr/share/fish/vendor_completions.d",
        ];
        for folder in folders.into_iter().chain(places) {
            std::fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        let binary = env!("CARGO_BIN_EXE_relay");
        std::os::unix::fs::symlink(binary, path.join("bin/relay")).expect("a link");
        let ssh = path.join("bin/ssh");
        std::fs::write(&ssh, SSH).expect("a program");
        std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).expect("a mode");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        std::os::unix::fs::symlink(tests, path.join("work/tests")).expect("a link");
        let (public, admin) = (free_port(), free_port());
        let words = Words::new(path, public, admin, receiver.address());
        let scene = Self {
            directory,
            receiver,
            public,
            server: None,
            tls: None,
            words,
        };
        scene.write("shell/state", "");
        scene.write("shell/directory", &scene.path("work").display().to_string());
        scene
    }

    /// A working directory with the relay.toml of the repository.
    pub fn repository() -> Self {
        let scene = Self::bare();
        scene.write("work/relay.toml", include_str!("../../../relay.toml"));
        scene
    }

    /// A server with destinations and sources of the names that documents use, a delivered event
    /// and a dead letter.
    pub fn furnished() -> Self {
        let mut scene = Self::bare();
        let to = scene.receiver.url("");
        let toml = include_str!("relay.toml").replace("http://127.0.0.1:9000", &to);
        scene.write("work/relay.toml", &scene.words.put_into(&toml));
        for name in ["push.json", "event.json"] {
            scene.write(&format!("work/{name}"), "{\"id\": 1}");
        }
        scene.start();
        let client = scene.client();
        crate::support::event_with_status(
            &client,
            &event_id(&client.hook("delivered", b"{}")),
            "delivered",
        );
        let dead = event_id(&client.hook("dead", REFUSED));
        crate::support::event_with_status(&client, &dead, "dead_lettered");
        scene.words.set("evt_…", &dead);
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect(name);
    }

    pub fn client(&self) -> Client {
        Client::of(self.public)
    }

    pub fn next_arrival_at(&self, path: &str) {
        until("it arrives", || {
            let arrival = self.receiver.next();
            (arrival.path == path).then_some(())
        });
    }

    /// The directory that the commands so far have changed to.
    fn shell_directory(&self) -> PathBuf {
        let text = std::fs::read_to_string(self.path("shell/directory"));
        text.expect("the last command noted it").trim_end().into()
    }

    /// A shell that runs the command after those before it.
    fn shell(&self, command: &str) -> Command {
        let shell = self.path("shell").display().to_string();
        let script = format!(
            "set -eo pipefail; set -a; . '{shell}/state'\n\
             remember() {{ export -p >'{shell}/state'; pwd >'{shell}/directory'; }}\n\
             trap 'code=$?; remember; exit $code' EXIT\n\
             {command}\n"
        );
        let mut shell = Command::new("/bin/bash");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-c", &script])
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("SCENE", self.directory.path())
            .env("HOME", self.directory.path())
            .env("MANPAGER", "cat")
            .current_dir(self.shell_directory())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shell
    }

    /// The command with the scene's addresses and paths.
    fn here(&self, command: &str) -> String {
        self.words
            .put_into(command)
            .replace("curl ", "curl --fail-with-body --silent --show-error ")
            .replace("cargo run --release --features delivery -- ", "relay ")
    }

    /// Runs a command, which must succeed; returns what it printed.
    pub fn run(&self, command: &str) -> String {
        let here = self.here(command);
        let Output {
            status,
            stdout,
            stderr,
        } = self.shell(&here).output().expect("a shell");
        let (said, error) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        assert!(
            status.success(),
            "{command}\nran as: {here}\n{status}\n{said}{error}"
        );
        said.into_owned()
    }

    /// Runs a command that goes on until somebody interrupts it, until it has printed a line.
    /// Events are sent meanwhile.
    pub fn follow(&self, command: &str) {
        let here = self.here(command);
        let mut shell = self.shell(&format!("exec {here}"));
        let mut child = Kill(shell.spawn().expect("a shell"));
        let has_printed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&has_printed);
        let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe"));
        let reading = std::thread::spawn(move || {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("text");
            seen.store(read > 0, Ordering::Release);
        });
        let client = self.client();
        let mut number = 0;
        until(command, || {
            number += 1;
            client.hook(&format!("{command} {number}"), b"{}");
            let is_done = has_printed.load(Ordering::Acquire);
            assert!(
                is_done || !reading.is_finished(),
                "{command}: ended silently"
            );
            is_done.then_some(())
        });
    }

    /// Starts the server by a command.
    pub fn serve(&mut self, command: &str) {
        self.stop();
        let directory = self.shell_directory();
        // The repository's file, and that of `relay init`, have ports that others may use.
        let text = std::fs::read_to_string(directory.join("relay.toml")).expect("relay.toml");
        let text = self.words.put_into(&text);
        let shell = self.shell(&format!("exec {}", self.here(command)));
        self.server = Some(Process::serve_by(shell, &directory, &text));
    }

    pub fn start(&mut self) {
        self.serve("relay serve");
    }

    /// Stops the server in order, if it runs.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal("-TERM");
            let (status, log) = server.wait();
            assert!(status.success(), "{log}");
        }
    }
}

/// A process that ends with the test.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of loopback that nothing listens at.
fn free_port() -> SocketAddr {
    let free = |_| {
        let port = rand::random_range(PORTS);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).is_ok().then_some(address)
    };
    (0..100).find_map(free).expect("a free port")
}
