//! Permissions of the database's files, which hold payloads and credentials.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs_a_file;
use crate::support::{Process, event_id};

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = 0\n\
    [api]\nkeys = ['test-key']\n[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.github]\ndestinations = ['orders']\n";

/// Serves with the real binary under a umask.
fn serve(directory: &Path, umask: &str) -> Process {
    let relay = Process::command(directory);
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("umask {umask}; exec \"$0\" serve")])
        .arg(relay.get_program())
        .current_dir(directory)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Process::serve_by(shell, directory, TOML)
}

/// The modes of the database's files.
fn modes(directory: &Path) -> BTreeMap<String, u32> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name() != "relay.toml")
        .map(|entry| {
            let mode = entry.metadata().expect("a file").permissions().mode();
            let name = entry.file_name().into_string().expect("text");
            (name, mode & 0o7777)
        })
        .collect()
}

fn private(names: &[&str]) -> BTreeMap<String, u32> {
    names.iter().map(|&name| (name.to_owned(), 0o600)).collect()
}

const SERVED: [&str; 4] = ["relay.db", "relay.db-shm", "relay.db-wal", "relay.db.lock"];

#[test]
fn new_files_are_readable_by_the_owner_only_under_any_umask() {
    needs_a_file!("the modes of the file are under test");
    for umask in ["000", "022", "077", "777"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let relay = serve(directory.path(), umask);
        event_id(&relay.client.hook("1", b"{}"));
        assert_eq!(modes(directory.path()), private(&SERVED), "umask {umask}");
        assert!(!relay.begun.contains("wider"), "{}", relay.begun);
        relay.signal("-TERM");
        assert!(relay.wait().0.success());
        let left = modes(directory.path());
        assert!(left.values().all(|&mode| mode == 0o600), "{left:?}");
    }
}

#[test]
fn files_that_others_could_read_are_restricted_and_the_log_says_so() {
    needs_a_file!("the modes of the file are under test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let relay = serve(directory.path(), "022");
    event_id(&relay.client.hook("1", b"{}"));
    // A crash leaves all four files, here with the modes of an earlier version.
    relay.kill();
    for (name, mode) in SERVED.into_iter().zip([0o644, 0o666, 0o640, 0o755]) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path().join(name), mode).expect("it is ours");
    }
    let relay = serve(directory.path(), "000");
    event_id(&relay.client.hook("2", b"{}"));
    assert_eq!(modes(directory.path()), private(&SERVED));
    let said: Vec<_> = relay
        .begun
        .lines()
        .filter(|line| line.contains("wider"))
        .collect();
    assert_eq!(said.len(), 1, "{}", relay.begun);
    for part in [
        "relay.db (0644)",
        "relay.db-shm (0666)",
        "relay.db-wal (0640)",
        "relay.db.lock (0755)",
    ] {
        assert!(said[0].contains(part), "{part}: {}", said[0]);
    }
}

/// A user without rights to anything here.
const OTHER: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// The database of a server that has ended, in the directory `data`, which belongs to a user who
/// isn't the superuser.
fn data_of_another(directory: &Path) -> PathBuf {
    let relay = serve(directory, "022");
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    let data = directory.join("data");
    std::fs::create_dir(&data).expect("a directory");
    let toml = TOML.replace("min_free_bytes = 0", "path = 'data/relay.db'");
    std::fs::write(directory.join("relay.toml"), toml).expect("a file");
    for name in ["relay.db", "relay.db.lock"] {
        std::fs::rename(directory.join(name), data.join(name)).expect("no server");
        if rustix::process::geteuid().is_root() {
            chown(data.join(name), Some(OTHER), Some(OTHER)).expect("we may");
            chown(&data, Some(OTHER), Some(OTHER)).expect("we may");
        }
    }
    set_mode(directory, 0o755);
    data
}

/// The error of a command that a user gives who isn't the superuser.
fn error_of_another(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Process::command(directory);
    if rustix::process::geteuid().is_root() {
        // The binary's own place may be out of reach for others.
        // Copied by another process: a child of another test would inherit our writing end, and a
        // file that is open for writing can't be executed.
        let copy = directory.join("relay");
        if !copy.exists() {
            let copied = Command::new("cp")
                .arg(command.get_program())
                .arg(&copy)
                .status();
            assert!(copied.expect("cp runs").success());
        }
        let mut other = Command::new(copy);
        other.uid(OTHER).gid(OTHER).current_dir(directory);
        command = other;
    }
    let output = command.args(arguments).output().expect("the binary runs");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

/// `relay list` in the shell of somebody else: most often of whoever has not typed sudo.
#[test]
fn a_command_of_another_user_is_told_so() {
    needs_a_file!("the modes of the file are under test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = data_of_another(directory.path());
    let (database, lock) = (data.join("relay.db"), data.join("relay.db.lock"));
    // Neither a file that this user may not read, nor one that they can't even see, is missing.
    for (of_directory, of_file) in [(0o755, 0), (0, 0o600)] {
        set_mode(&database, of_file);
        set_mode(&data, of_directory);
        let error = error_of_another(directory.path(), &["list"]);
        set_mode(&data, 0o700);
        set_mode(&database, 0o600);
        assert!(error.contains("relay.db: Permission denied"), "{error}");
        assert!(
            error.contains("by the user that relay serve runs as"),
            "{error}"
        );
    }
    set_mode(&database, 0o400);
    let error = error_of_another(directory.path(), &["resume", "orders"]);
    assert!(error.contains("relay.db: Permission denied"), "{error}");
    // A lock file that can't be read says neither that there is a server nor that there is none.
    let before = std::fs::read(&lock).expect("it is there");
    set_mode(&lock, 0);
    for arguments in [
        &["unlock"][..],
        &["unlock", "--accept-data-loss"],
        &["list"],
    ] {
        let error = error_of_another(directory.path(), arguments);
        assert!(
            error.contains("relay.db.lock: Permission denied"),
            "{error}"
        );
        assert!(
            error.contains("by the user that relay serve runs as"),
            "{error}"
        );
    }
    set_mode(&lock, 0o600);
    assert_eq!(std::fs::read(&lock).expect("it is there"), before);
}

#[test]
fn a_start_without_rights_names_the_file_and_the_rights() {
    needs_a_file!("the modes of the file are under test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = data_of_another(directory.path());
    for (of_directory, of_file, says) in [
        (0o755, 0, "data/relay.db: Permission denied"),
        (0o755, 0o400, "data/relay.db: Permission denied"),
        (0o555, 0o600, "data: Permission denied"),
    ] {
        set_mode(&data.join("relay.db"), of_file);
        set_mode(&data, of_directory);
        let error = error_of_another(directory.path(), &["serve"]);
        set_mode(&data, 0o755);
        for says in [says, "expected a file and a directory that this user may"] {
            assert!(error.contains(says), "{of_file:o}: {error}");
        }
    }
    let toml = TOML.replace("min_free_bytes = 0", "path = 'data'");
    std::fs::write(directory.path().join("relay.toml"), toml).expect("a file");
    for command in ["serve", "list"] {
        let error = error_of_another(directory.path(), &[command]);
        assert!(
            error.contains("data: expected a file"),
            "{command}: {error}"
        );
    }
}
