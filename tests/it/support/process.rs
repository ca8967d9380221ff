use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use super::Client;

/// The real binary, as a process of its own.
pub struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    /// The log up to the line with its address.
    pub begun: String,
    pub client: Client,
    /// A client of the operator's listener, if there is one.
    pub admin: Option<Client>,
}

impl Process {
    pub fn command(directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Serves with `toml` as its relay.toml, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it doesn't.
    pub fn serve(directory: &Path, toml: &str) -> Self {
        let mut command = Self::command(directory);
        command.arg("serve");
        Self::serve_by(command, directory, toml)
    }

    /// As [`Process::serve`], by another command, such as a shell that executes the binary.
    pub fn serve_by(command: Command, directory: &Path, toml: &str) -> Self {
        Self::serve_at(command, directory, toml, "listening at http://")
    }

    /// As [`Process::serve_by`], with TLS at the public listener.
    pub fn serve_by_tls(command: Command, directory: &Path, toml: &str) -> Self {
        Self::serve_at(command, directory, toml, "listening at https://")
    }

    fn serve_at(mut command: Command, directory: &Path, toml: &str, listening: &str) -> Self {
        std::fs::write(directory.join("relay.toml"), toml).expect("writing relay.toml");
        let mut child = command.spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut seen = String::new();
        let (address, admin) = loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("its log is text");
            seen.push_str(&line);
            assert!(read > 0, "it ended without listening:\n{seen}");
            if let Some((_, rest)) = line.split_once(listening) {
                let address = rest.split(['"', ' ', '\n']).next();
                let admin = rest.split_once("\"admin\":\"");
                let admin = admin.and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
                break (address.expect("an address").to_owned(), admin);
            }
        };
        Self {
            child,
            log,
            begun: seen,
            client: Client::of(address.parse().expect("an address")),
            admin: admin.map(Client::of_admin),
        }
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(sent.success());
    }

    /// Whether it has ended, without waiting for it.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Panics
    ///
    /// If the system doesn't say.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<usize>().ok())
            .expect("a size")
            << 10
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Reads its log up to a line that holds `text`.
    ///
    /// # Panics
    ///
    /// If there is none before its end.
    pub fn wait_for_line(&mut self, text: &str) {
        self.read_until(text);
    }

    /// Reads its log up to a line that holds `text`, and returns it with this line.
    ///
    /// # Panics
    ///
    /// If there is none before its end.
    pub fn read_until(&mut self, text: &str) -> String {
        let mut log = String::new();
        loop {
            let before = log.len();
            let read = self.log.read_line(&mut log).expect("its log is text");
            assert!(read > 0, "it ended without saying {text:?}:\n{log}");
            if log[before..].contains(text) {
                return log;
            }
        }
    }

    /// Waits for its end without reading its log.
    pub fn ended(&mut self) -> ExitStatus {
        super::until("it ends", || self.child.try_wait().expect("a child"))
    }

    /// Waits for its end; returns its exit status and the rest of its log.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("its log is text");
        (self.child.wait().expect("it ends"), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
