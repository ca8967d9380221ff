//! A server of PostgreSQL that can be killed and started again, and its standby.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::shim::{DATABASE, ENOSPC, Shim};
use crate::support::postgres::{self, Server};
use crate::support::until;
use crate::world::send;

pub struct Database {
    programs: PathBuf,
    primary: Instance,
    /// Follows the primary; each commit waits for it.
    standby: Option<Instance>,
}

/// A directory with the files of a server, which runs or doesn't.
struct Instance {
    directory: PathBuf,
    child: Option<Child>,
    /// Fills its disk.
    shim: Option<Shim>,
}

/// Lets each claim wait for the lock. A lock of the table would hold settlements, too, which a turn
/// makes before its claim: then it couldn't be told whether a claim comes after them.
const HOLDABLE: &str = "
    CREATE OR REPLACE FUNCTION public.wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END';
    CREATE OR REPLACE TRIGGER holdable BEFORE INSERT ON relay.claims
        FOR EACH STATEMENT EXECUTE FUNCTION public.wait_for_lock();";

/// A session that keeps all claims from being recorded, until it is dropped.
pub struct HeldClaims(Child);

impl Drop for HeldClaims {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Database {
    /// Makes a cluster of databases and starts its server, and a standby if there is one.
    /// `may_be_full`: whether its disk can be filled.
    pub fn new(has_standby: bool, may_be_full: bool) -> Self {
        let programs = postgres::programs().expect("PostgreSQL is there");
        let mut primary = Instance::new();
        primary.shim = may_be_full.then(Shim::new);
        let mut database = Self {
            programs,
            primary,
            standby: has_standby.then(Instance::new),
        };
        database.run("initdb", |command| {
            command
                .arg("--pgdata")
                .arg(database.primary.data())
                .args(["--username", "postgres", "--auth", "trust"])
                .args(["--locale", "C", "--encoding", "UTF8"]);
        });
        database.start();
        if has_standby {
            database.follow();
        }
        database
    }

    fn run(&self, name: &str, with: impl FnOnce(&mut Command)) {
        let mut command = program(&self.programs, name);
        with(&mut command);
        let made = command.output().expect("it is installed");
        let error = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{name}: {error}");
    }

    /// The URL of a database, on whichever server takes writes.
    pub fn url(&self, name: &str) -> String {
        let primary = self.primary.host();
        let Some(standby) = &self.standby else {
            return format!("postgres://postgres@{primary}/{name}");
        };
        let hosts = format!("{primary},{}", standby.host());
        format!("postgres://postgres@{hosts}/{name}?target_session_attrs=read-write")
    }

    pub fn server(&self) -> Server {
        Server::at(self.url("postgres"))
    }

    /// Starts the server, and waits until it takes connections.
    pub fn start(&mut self) {
        self.primary.start(&self.programs);
    }

    /// Kills the server at once; its processes end as they find out.
    pub fn kill(&mut self) {
        self.primary.end("-KILL");
        if self.standby.is_none() {
            self.primary.forget_settings();
        }
    }

    /// Lets no commit be answered from now on: each is written, and waits for a standby that never
    /// comes. The server that is started after a kill answers again.
    pub fn withhold_answers(&self) {
        self.wait_for_standbys("nobody");
    }

    /// Whether a session waits so, whose statement has this text.
    pub fn is_withheld(&self, statement: &str) -> bool {
        self.waits(&format!(
            "wait_event = 'SyncRep' AND query LIKE '%{statement}%'"
        ))
    }

    fn waits(&self, condition: &str) -> bool {
        let asked = format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {condition})");
        self.ask(&asked) == "t\n"
    }

    /// Makes it possible to hold claims.
    pub fn make_claims_holdable(database: &str) {
        ask_in(database, HOLDABLE);
    }

    /// Keeps claims from being recorded; settlements are.
    pub fn hold_claims(&self, database: &str) -> HeldClaims {
        let mut session = program(&self.programs, "psql")
            .args(["-X", "-q", "-d", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("psql is there");
        let input = session.stdin.as_mut().expect("a pipe");
        writeln!(input, "SELECT pg_advisory_lock(42);").expect("psql reads");
        HeldClaims(session)
    }

    /// Whether the node's claim waits for whoever holds claims.
    pub fn is_claim_held(&self, node: &str) -> bool {
        self.waits(&format!(
            "application_name = '{node}' AND wait_event = 'advisory'"
        ))
    }

    /// Refuses to make any file of a table longer, as a full disk does.
    pub fn fill_disk(&self) {
        self.shim().fail_writes(ENOSPC, DATABASE, true);
    }

    pub fn empty_disk(&self) {
        self.shim().heal();
    }

    fn shim(&self) -> &Shim {
        self.primary.shim.as_ref().expect("its disk can be filled")
    }

    /// Stops the server in order, without waiting for its clients.
    pub fn stop(&mut self) {
        self.primary.end("-INT");
    }

    /// Makes the standby the primary, and waits until it takes writes. The old primary is gone.
    pub fn promote(&mut self) {
        let standby = self.standby.as_mut().expect("there is one");
        std::mem::swap(&mut self.primary, standby);
        let data = self.primary.data();
        self.run("pg_ctl", |command| {
            command.args(["-w", "promote", "-D"]).arg(data);
        });
        // It commits alone until it has a standby of its own.
        self.wait_for_standbys("");
    }

    /// Makes a new standby of the primary, for which commits wait from now on.
    pub fn follow(&mut self) {
        let mut standby = self.standby.take().expect("there is one");
        let _ = std::fs::remove_dir_all(standby.data());
        self.run("pg_basebackup", |command| {
            command
                .args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-h"])
                .arg(&self.primary.directory)
                .arg("-D")
                .arg(standby.data());
        });
        standby.start(&self.programs);
        until("the standby follows", || {
            let rows = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
            (self.ask(rows) == "1\n").then_some(())
        });
        self.standby = Some(standby);
        self.wait_for_standbys("*");
    }

    fn wait_for_standbys(&self, names: &str) {
        self.ask(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{names}'"
        ));
        self.ask("SELECT pg_reload_conf()");
    }

    fn ask(&self, sql: &str) -> String {
        let url = format!("postgres://postgres@{}/postgres", self.primary.host());
        ask_in(&url, sql)
    }
}

fn ask_in(url: &str, sql: &str) -> String {
    let printed = Server::at(url.to_owned()).query(url, sql, &[]);
    String::from_utf8(printed).expect("text")
}

fn program(programs: &Path, name: &str) -> Command {
    let mut command = postgres::command(programs.join(name).as_ref());
    command.env_clear().env("LC_ALL", "C").current_dir("/");
    command
}

impl Instance {
    fn new() -> Self {
        let made = postgres::command("mktemp".as_ref())
            .args(["-d", "/tmp/relay-torture.XXXXXX"])
            .output()
            .expect("mktemp is there");
        let directory = String::from_utf8(made.stdout).expect("text");
        Self {
            directory: PathBuf::from(directory.trim()),
            child: None,
            shim: None,
        }
    }

    /// Its directory as the host of a URL.
    fn host(&self) -> String {
        self.directory.display().to_string().replace('/', "%2F")
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts the server, and waits until it takes connections. Processes of a killed one may hold
    /// its directory for a moment.
    fn start(&mut self, programs: &Path) {
        let log = self.directory.with_extension("log");
        until("PostgreSQL takes connections", || {
            let is_running = self
                .child
                .as_mut()
                .is_some_and(|child| child.try_wait().expect("a child").is_none());
            if !is_running {
                let lines = || File::options().create(true).append(true).open(&log);
                let mut command = program(programs, "postgres");
                if let Some(shim) = &self.shim {
                    shim.load(&mut command, &self.data().join("base"), false);
                }
                let child = command
                    .arg("-D")
                    .arg(self.data())
                    .arg("-k")
                    .arg(&self.directory)
                    .args(["-c", "listen_addresses=", "-c", "max_connections=200"])
                    // Whole statements, which the tests tell apart.
                    .args(["-c", "track_activity_query_size=8kB"])
                    .stdin(Stdio::null())
                    .stdout(lines().expect("a log"))
                    .stderr(lines().expect("a log"))
                    .spawn();
                self.child = Some(child.expect("PostgreSQL starts"));
            }
            let ready = program(programs, "pg_isready")
                .args(["-q", "-U", "postgres", "-h"])
                .arg(&self.directory)
                .status();
            ready.expect("pg_isready runs").success().then_some(())
        });
    }

    /// Forgets what was set while it ran.
    fn forget_settings(&self) {
        let settings = self.data().join("postgresql.auto.conf");
        std::fs::write(settings, "").expect("it is there");
    }

    fn end(&mut self, signal: &str) {
        let mut child = self.child.take().expect("it runs");
        send(signal, child.id());
        child.wait().expect("it ends");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end("-INT");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_file(self.directory.with_extension("log"));
    }
}
