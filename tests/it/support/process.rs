use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

use super::{Client, PATIENCE, engine};

/// The real binary, as a process of its own.
pub struct Process {
    child: Child,
    log: Log,
    /// The log up to the line with its address.
    pub begun: String,
    pub client: Client,
    /// A client of the operator's listener, if there is one.
    pub admin: Option<Client>,
}

impl Process {
    pub fn command(directory: &Path) -> Command {
        handle_hangup();
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(url) = engine::url(directory) {
            command.env("RELAY_DATABASE_URL", url);
        }
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
        Self::serve_beside(command, directory, toml, |_| {})
    }

    /// As [`Process::serve_by`], with TLS at the public listener.
    pub fn serve_by_tls(command: Command, directory: &Path, toml: &str) -> Self {
        Self::spawn(command, directory, toml).listening("https")
    }

    /// As [`Process::serve_by`]. Calls a function with the id of the process that starts.
    pub fn serve_beside(
        command: Command,
        directory: &Path,
        toml: &str,
        beside: impl FnOnce(u32),
    ) -> Self {
        let process = Self::spawn(command, directory, toml);
        beside(process.id());
        process.listening("http")
    }

    /// Begins to serve with `toml` as its relay.toml.
    fn spawn(mut command: Command, directory: &Path, toml: &str) -> Self {
        std::fs::write(directory.join("relay.toml"), toml).expect("writing relay.toml");
        let mut child = command.spawn().expect("the binary starts");
        let log = Log::of(child.stderr.take().expect("a pipe"));
        Self {
            child,
            log,
            begun: String::new(),
            client: Client::of(([127, 0, 0, 1], 0).into()),
            admin: None,
        }
    }

    /// Waits until it listens by this scheme.
    fn listening(mut self, scheme: &str) -> Self {
        let begun = self.read_until("listening at ");
        let line = begun.lines().last().unwrap_or_default();
        let listening = format!("listening at {scheme}://");
        let Some((_, rest)) = line.split_once(&listening) else {
            panic!("it is not {listening}…\n{begun}");
        };
        let address = rest.split(['"', ' ']).next().expect("an address");
        self.client = Client::of(address.parse().expect("an address"));
        let admin = rest.split_once("\"admin\":\"");
        let admin = admin.and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
        self.admin = admin.map(Client::of_admin);
        self.begun = begun;
        self
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
    /// If there is none before its end, or within a minute.
    pub fn wait_for_line(&mut self, text: &str) {
        self.read_until(text);
    }

    /// Reads its log up to a line that holds `text`, and returns it with this line.
    ///
    /// # Panics
    ///
    /// If there is none before its end, or within a minute.
    pub fn read_until(&mut self, text: &str) -> String {
        self.read_within(PATIENCE, text)
    }

    /// As [`Process::read_until`], within another time.
    ///
    /// # Panics
    ///
    /// If there is none before its end, or within this time.
    pub fn read_within(&mut self, limit: Duration, text: &str) -> String {
        let end = Instant::now() + limit;
        let mut log = String::new();
        loop {
            let line = self.log.line(end);
            let line = line.unwrap_or_else(|| panic!("it didn't say {text:?} in time:\n{log}"));
            assert!(!line.is_empty(), "it ended without saying {text:?}:\n{log}");
            log.push_str(&line);
            if line.contains(text) {
                return log;
            }
        }
    }

    /// Waits for its end without reading its log.
    pub fn ended(&mut self) -> ExitStatus {
        super::until("it ends", || self.child.try_wait().expect("a child"))
    }

    /// Waits for its end; returns its exit status and the rest of its log.
    ///
    /// # Panics
    ///
    /// If it doesn't end within a minute.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        let mut log = String::new();
        loop {
            let line = self.log.line(end);
            let line = line.unwrap_or_else(|| panic!("it didn't end in time:\n{log}"));
            if line.is_empty() {
                return (self.child.wait().expect("it ends"), log);
            }
            log.push_str(&line);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The standard error of a process. It is read no further than a test asks for: some tests are
/// about a log that nobody reads.
struct Log {
    pipe: ChildStderr,
    /// Bytes of further lines.
    read: Vec<u8>,
}

impl Log {
    fn of(pipe: ChildStderr) -> Self {
        Self {
            pipe,
            read: Vec::new(),
        }
    }

    /// The next line, with its end; the rest, which may be empty, at the log's end. None if there
    /// is neither before `end`.
    fn line(&mut self, end: Instant) -> Option<String> {
        loop {
            if let Some(at) = self.read.iter().position(|&byte| byte == b'\n') {
                return Some(text(self.read.drain(..=at).collect()));
            }
            if !self.is_readable_before(end) {
                return None;
            }
            let mut piece = [0; 8192];
            match self.pipe.read(&mut piece).expect("a pipe") {
                0 => return Some(text(std::mem::take(&mut self.read))),
                read => self.read.extend_from_slice(&piece[..read]),
            }
        }
    }

    fn is_readable_before(&self, end: Instant) -> bool {
        let wait = end.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(wait).expect("a short wait");
        let mut polled = [PollFd::new(&self.pipe, PollFlags::IN)];
        let polled = rustix::io::retry_on_intr(|| poll(&mut polled, Some(&wait)));
        polled.expect("a descriptor") > 0
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("its log is text")
}

/// Under nohup this process ignores SIGHUP, and so would a server that it starts. A signal that is
/// handled here has its default action there.
fn handle_hangup() {
    static HANDLED: Once = Once::new();
    HANDLED.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // SIGHUP is signal 1: the lowest bit.
        if mask.is_some_and(|mask| mask & 1 == 1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let _entered = runtime.enter();
            // The handler stays when its stream is dropped.
            drop(signal(SignalKind::hangup()).expect("a handler"));
        }
    });
}
