//! `[database]`: the database, a file or a server of PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, shown, within};
use crate::config::secrets::Secret;
use crate::config::units;

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The file; `-wal`, `-shm` and `.lock` files stand beside it. Default: `relay.db`.
    pub path: PathBuf,
    /// A server of PostgreSQL instead of a file: `postgres://USER:PASSWORD@HOST/DATABASE`. Default:
    /// none.
    pub url: Option<Secret>,
    /// The authorities that PostgreSQL's certificate is verified by, as PEM; without it, the usual
    /// ones.
    pub ca_file: Option<PathBuf>,
    /// The longest time that PostgreSQL may take for a statement. Default: 5 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub statement_timeout: Duration,
    /// Connections that read. Default: 4.
    pub readers: u32,
    /// The free space on the file's disk below which ingestion is refused, in bytes. Default:
    /// 64 MiB.
    #[serde(deserialize_with = "units::size")]
    #[cfg_attr(test, schemars(with = "units::SizeText"))]
    pub min_free_bytes: u64,
    /// The space that the database may use, its write-ahead log included. Above nine tenths of it
    /// the payloads of finished events are deleted, the oldest first. Default: none.
    #[serde(deserialize_with = "units::some_size")]
    #[cfg_attr(test, schemars(with = "Option<units::SizeText>"))]
    pub max_bytes: Option<u64>,
}

const DEFAULT_PATH: &str = "relay.db";

/// Shorter ones would end statements of a busy server; a longer one outlasts the client's own
/// limit.
const STATEMENT_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(9);

/// Less would be taken by the write-ahead log alone.
const MIN_MAX_BYTES: u64 = 1 << 20;

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_PATH),
            url: None,
            ca_file: None,
            statement_timeout: Duration::from_secs(5),
            readers: 4,
            min_free_bytes: 64 << 20,
            max_bytes: None,
        }
    }
}

impl Database {
    /// The file, or the server and its database, without a user and a password.
    pub fn shown(&self) -> String {
        match &self.url {
            None => self.path.display().to_string(),
            Some(url) => server_of(url.reveal()).unwrap_or("postgres://…".to_owned()),
        }
    }

    pub(in crate::config) fn check(&self, key: &str, has_postgres: bool) -> Checked {
        self.check_url(key, has_postgres)?;
        let path = self.path.as_os_str();
        let bytes = path.as_encoded_bytes();
        let is_uri = path == ":memory:" || bytes.starts_with(b"file:");
        if bytes.is_empty() || bytes.contains(&0) || is_uri {
            return bad(&format!("{key}.path"), quoted(path), "the path of a file");
        }
        if let Some(max) = self.max_bytes.filter(|max| *max < MIN_MAX_BYTES) {
            let expected = "at least \"1MiB\"";
            return bad(&format!("{key}.max_bytes"), max.to_string(), expected);
        }
        within(&format!("{key}.readers"), self.readers, 1, 64)
    }

    fn check_url(&self, key: &str, has_postgres: bool) -> Checked {
        if !STATEMENT_TIMEOUT.contains(&self.statement_timeout) {
            let key = format!("{key}.statement_timeout");
            return bad(&key, shown(self.statement_timeout), "100ms to 9s");
        }
        let Some(url) = &self.url else {
            return match &self.ca_file {
                Some(file) => bad(
                    &format!("{key}.ca_file"),
                    quoted(file.as_os_str()),
                    "database.url beside it",
                ),
                None => Ok(()),
            };
        };
        let key = &format!("{key}.url");
        if !has_postgres {
            let expected = "no URL: this build keeps its database in a file alone; a build with \
                            --features postgres takes one";
            return bad(key, "***", expected);
        }
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.reveal().starts_with(scheme));
        if !is_postgres {
            return bad(key, "***", "postgres://USER:PASSWORD@HOST/DATABASE");
        }
        if self.path != Path::new(DEFAULT_PATH) {
            let problem = "contradicts database.path: expected one of the two";
            return Err((key.clone(), problem.to_owned()));
        }
        Ok(())
    }
}

/// The hosts and the database of a URL; none where an `@` elsewhere may belong to a password that
/// isn't encoded.
fn server_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    if options.contains('@') || database.contains('@') {
        return None;
    }
    let hosts = authority
        .rsplit_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    Some(format!("postgres://{hosts}/{database}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        let cases = [
            ("postgres://h/relay", "postgres://h/relay"),
            ("postgres://u:hush@h:5433/relay", "postgres://h:5433/relay"),
            (
                "postgresql://u:hush@a,b/relay?sslmode=require",
                "postgres://a,b/relay",
            ),
            (
                "postgres:///relay?host=/run/postgresql",
                "postgres:///relay",
            ),
            ("postgres://u:hu@sh@h/relay", "postgres://h/relay"),
            ("postgres://u:hu/sh@h/relay", "postgres://…"),
            ("postgres://u:hu?sh@h/relay", "postgres://…"),
        ];
        for (url, expected) in cases {
            let database = Database {
                url: Some(Secret::new(url)),
                ..Database::default()
            };
            assert_eq!(database.shown(), expected, "{url}");
        }
        assert_eq!(Database::default().shown(), "relay.db");
    }
}
