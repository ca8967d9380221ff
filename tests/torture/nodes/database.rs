//! A server of PostgreSQL that can be killed and started again.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::postgres::{self, Server};
use crate::support::until;
use crate::world::send;

pub struct Database {
    directory: PathBuf,
    programs: PathBuf,
    child: Option<Child>,
}

impl Database {
    /// Makes a cluster of databases and starts its server.
    pub fn new() -> Self {
        let programs = postgres::programs().expect("PostgreSQL is there");
        let made = postgres::command("mktemp".as_ref())
            .args(["-d", "/tmp/relay-torture.XXXXXX"])
            .output()
            .expect("mktemp is there");
        let directory = String::from_utf8(made.stdout).expect("text");
        let mut database = Self {
            directory: PathBuf::from(directory.trim()),
            programs,
            child: None,
        };
        let data = database.directory.join("data");
        let made = database
            .program("initdb")
            .arg("--pgdata")
            .arg(data)
            .args(["--username", "postgres", "--auth", "trust"])
            .args(["--locale", "C", "--encoding", "UTF8"])
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb: {made}");
        database.start();
        database
    }

    fn program(&self, name: &str) -> Command {
        let mut command = postgres::command(self.programs.join(name).as_ref());
        command.env_clear().env("LC_ALL", "C").current_dir("/");
        command
    }

    fn url(&self, name: &str) -> String {
        let directory = self.directory.display();
        format!("postgres:///{name}?host={directory}&user=postgres")
    }

    pub fn server(&self) -> Server {
        Server::at(self.url("postgres"))
    }

    /// Starts the server, and waits until it takes connections. Processes of a killed one may hold
    /// its directory for a moment.
    pub fn start(&mut self) {
        let log = self.directory.with_extension("log");
        until("PostgreSQL takes connections", || {
            let is_running = self
                .child
                .as_mut()
                .is_some_and(|child| child.try_wait().expect("a child").is_none());
            if !is_running {
                let lines = || File::options().create(true).append(true).open(&log);
                let child = self
                    .program("postgres")
                    .arg("-D")
                    .arg(self.directory.join("data"))
                    .arg("-k")
                    .arg(&self.directory)
                    .args(["-c", "listen_addresses=", "-c", "max_connections=200"])
                    .stdin(Stdio::null())
                    .stdout(lines().expect("a log"))
                    .stderr(lines().expect("a log"))
                    .spawn();
                self.child = Some(child.expect("PostgreSQL starts"));
            }
            let ready = self
                .program("pg_isready")
                .args(["-q", "-U", "postgres", "-h"])
                .arg(&self.directory)
                .status();
            ready.expect("pg_isready runs").success().then_some(())
        });
    }

    /// Kills the server at once; its processes end as they find out.
    pub fn kill(&mut self) {
        self.end("-KILL");
    }

    /// Stops the server in order, without waiting for its clients.
    pub fn stop(&mut self) {
        self.end("-INT");
    }

    fn end(&mut self, signal: &str) {
        let mut child = self.child.take().expect("it runs");
        send(signal, child.id());
        child.wait().expect("it ends");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
        let log = self.directory.with_extension("log");
        let _ = std::fs::remove_file(log);
    }
}
