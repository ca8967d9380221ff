//! The modes of the files that hold secrets or payloads.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::doctor::report::Report;
use crate::config::{Config, Resolved, SecretPlace};

const ABOUT: &str = "files";

pub(super) fn look(report: &mut Report, config: &Resolved, file: Option<&Path>) {
    let mut private = 0;
    let in_file = Config::load_without_variables(file).map(Config::into_secret_places);
    if in_file.is_ok_and(|places| places.iter().any(|place| place.is_in_place)) {
        private += look_at_configuration(report, file.unwrap_or(Path::new(Config::FILE)));
    }
    // The references are gone from the settings that take effect.
    let places = Config::load_for_commands(file).map(Config::into_secret_places);
    for place in &places.unwrap_or_default() {
        if let Some(path) = &place.file {
            private += look_at_secrets(report, place, path);
        }
    }
    if config.database.url.is_none() {
        private += look_at_database(report, &config.database.path);
    }
    if private > 0 {
        report.ok(
            ABOUT,
            format!("only their owner or group reads {private} private files"),
        );
    }
}

/// The permissions of a file; none if it can't be looked at.
fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Whether everybody on the machine can read or change it.
fn is_open(mode: u32) -> bool {
    mode & 0o006 != 0
}

/// The configuration holds secrets. A warning only: on a machine of one user nobody else reads it.
/// Returns how many files are private.
fn look_at_configuration(report: &mut Report, path: &Path) -> usize {
    match mode(path) {
        Ok(mode) if is_open(mode) => {
            let fact = format!(
                "{} holds secrets and has mode {mode:04o}, so that every user of this machine can \
                 read it",
                path.display()
            );
            let advice = format!(
                "chmod 0600 {}, or keep the secrets in variables or files of their own (…_env, \
                 …_file)",
                path.display()
            );
            report.warn(ABOUT, fact, advice);
            0
        }
        Ok(_) => 1,
        Err(_) => 0,
    }
}

fn look_at_secrets(report: &mut Report, place: &SecretPlace, path: &Path) -> usize {
    let (key, shown) = (&place.key, path.display());
    match mode(path) {
        Ok(mode) if is_open(mode) => {
            let fact = format!(
                "{key}_file: {shown} has mode {mode:04o}, so that every user of this machine can \
                 get at the secret"
            );
            let advice = format!("chmod 0600 {shown}, or 0640 with a group of relay's own");
            report.fail(ABOUT, fact, advice);
            0
        }
        Ok(_) => 1,
        Err(error) => {
            let fact = format!("{key}_file: {shown}: {error}");
            report.fail(ABOUT, fact, "relay has to read it");
            0
        }
    }
}

/// The database's files. A server narrows their modes at its start.
fn look_at_database(report: &mut Report, path: &Path) -> usize {
    let mut private = 0;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match mode(&path) {
            Ok(mode) if is_open(mode) => {
                let shown = path.display();
                let fact = format!(
                    "{shown} has mode {mode:04o}, so that every user of this machine can get at \
                     the payloads"
                );
                report.fail(ABOUT, fact, format!("chmod 0600 {shown}"));
            }
            Ok(_) => private += 1,
            // It isn't there yet.
            Err(_) => {}
        }
    }
    private
}
