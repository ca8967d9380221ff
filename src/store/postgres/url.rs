//! The server, from its URL.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::config::{self, Secret};
use crate::store::postgres::tls::Tls;
use crate::tls::{Authorities, client_config};

/// The time for a connection to one address, unless the URL has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A socket whose peer says nothing for this long is probed, and one that acknowledges nothing for
/// this long is closed.
const SILENCE: Duration = Duration::from_secs(10);

const UNREADABLE: &str = "expected postgres://USER:PASSWORD@HOST/DATABASE with what is special in \
                          a password percent-encoded, and PostgreSQL's options alone after a ?";

/// The names of a server's settings, where they stand.
#[derive(Clone, Copy)]
pub struct SettingNames {
    pub url: &'static str,
    pub ca_file: &'static str,
}

/// In the configuration.
pub const BY_FILE: SettingNames = SettingNames {
    url: "database.url",
    ca_file: "database.ca_file",
};

/// In the command line of `relay migrate`.
pub const BY_OPTIONS: SettingNames = SettingNames {
    url: "--to",
    ca_file: "--ca-file",
};

/// A setting that can't be used.
#[derive(Debug)]
pub struct WrongSetting {
    /// Its name.
    pub name: &'static str,
    /// The problem, and nothing that may be secret.
    pub problem: String,
}

/// Refuses settings that can't be used. An error is a key and its problem.
pub fn check(url: &Secret, settings: &config::Database) -> Result<(), (String, String)> {
    let ca_file = settings.ca_file.as_deref();
    match DatabaseUrl::read(url, ca_file, settings.statement_timeout, BY_FILE) {
        Ok(_) => Ok(()),
        Err(wrong) => Err((wrong.name.to_owned(), wrong.problem)),
    }
}

/// The servers and the database, and how they are connected to. Shown without the password.
pub struct DatabaseUrl {
    config: Config,
    tls: Tls,
}

impl DatabaseUrl {
    /// Reads a URL. `ca_file`: the authorities that vouch for the server; the usual ones if none.
    pub fn read(
        url: &Secret,
        ca_file: Option<&Path>,
        statement_timeout: Duration,
        names: SettingNames,
    ) -> Result<Self, WrongSetting> {
        let wrong = |name| move |problem| WrongSetting { name, problem };
        let mut config = Self::parse(url).map_err(wrong(names.url))?;
        // A standby is never what is looked for.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT));
        config.keepalives_idle(SILENCE);
        config.tcp_user_timeout(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("relay");
        }
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} {}", session_options(statement_timeout));
        config.options(options.trim_start());
        let client = if uses_tls(&mut config) {
            refuse_nameless(&config).map_err(wrong(names.url))?;
            let trusted = ca_file.map_or(Authorities::Public, Authorities::File);
            Some(client_config(&trusted).map_err(wrong(names.ca_file))?)
        } else {
            None
        };
        let tls = Tls { client };
        Ok(Self { config, tls })
    }

    /// Reads the text of a URL.
    fn parse(url: &Secret) -> Result<Config, String> {
        let config: Config = url.reveal().parse().map_err(|error| problem(&error))?;
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return Err("expected a host: postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        }
        // The end of a password that isn't encoded.
        if hosts
            .iter()
            .any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
        {
            return Err(UNREADABLE.to_owned());
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return Err("target_session_attrs=read-only: expected read-write".to_owned());
        }
        Ok(config)
    }

    /// Whether there are several servers to choose from.
    pub fn has_many_hosts(&self) -> bool {
        self.config
            .get_hosts()
            .len()
            .max(self.config.get_hostaddrs().len())
            > 1
    }

    /// The same for statements that may take long. A setting of its own would stay with the session
    /// that a pooler lends to others.
    pub fn without_statement_timeout(&self) -> Self {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} -c statement_timeout=0");
        config.options(options.trim_start());
        Self {
            config,
            tls: self.tls.clone(),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn tls(&self) -> Tls {
        self.tls.clone()
    }
}

/// The settings of each session. The planner has no choice but the index that a statement was
/// written for: its statistics are wrong for a queue that is full now and was empty before. A
/// prepared statement is planned once. Without sorts a statement that says its order has the index
/// with that order; by cost a smaller one could be preferred, whose first column it doesn't know.
///
/// A number that isn't known is taken for a third of a table, for which workers would be started
/// though the index has a few rows, or none.
///
/// Settings are not enough for a join with the queue. Vacuumed when it was empty, it counts as one
/// row, and for an equality the planner considers all of an index, in the order that a merge join
/// would need. Joins with it say `= ANY(ARRAY[…])`, which has no order. An EXISTS that ends with
/// `OFFSET 0` is asked for each row, rather than answered from the whole table.
fn session_options(statement_timeout: Duration) -> String {
    let limit = statement_timeout.as_millis();
    let locks = limit / 2;
    format!(
        "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
         -c enable_bitmapscan=off -c enable_sort=off -c plan_cache_mode=force_generic_plan -c jit=off \
         -c max_parallel_workers_per_gather=0 \
         -c default_transaction_isolation=read\\ committed -c statement_timeout={limit} \
         -c lock_timeout={locks} -c idle_in_transaction_session_timeout={limit}"
    )
}

/// Whether connections are private, which the URL then requires. By default they are, unless they
/// don't leave this machine.
fn uses_tls(config: &mut Config) -> bool {
    let uses_tls = match config.get_ssl_mode() {
        SslMode::Disable => false,
        SslMode::Require => true,
        _ => !stays_on_this_machine(config),
    };
    config.ssl_mode(if uses_tls {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    uses_tls
}

/// Whether all servers are on this machine: by the addresses if there are any, since the driver
/// connects to those, and has the hosts only for the names in certificates.
fn stays_on_this_machine(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    if addresses.is_empty() {
        config.get_hosts().iter().all(is_local)
    } else {
        addresses.iter().all(IpAddr::is_loopback)
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        Host::Unix(_) => true,
    }
}

/// Refuses an address without a name, which its certificate can't be checked for.
fn refuse_nameless(config: &Config) -> Result<(), String> {
    let is_name = |host: &Host| matches!(host, Host::Tcp(name) if !name.is_empty());
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    if addresses.is_empty() || hosts.len() == addresses.len() && hosts.iter().all(is_name) {
        return Ok(());
    }
    Err("hostaddr: expected a host for each address, whose certificate has its name".to_owned())
}

/// Why a URL isn't understood. A name or a value of its own may be part of a password that wasn't
/// encoded, so the driver's reason is shown only if it quotes neither.
fn problem(error: &tokio_postgres::Error) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match reason.as_deref() {
        Some("invalid value for option `sslmode`") => {
            "sslmode: expected require, which verifies the certificate, or disable".to_owned()
        }
        Some(reason) if reason.starts_with("invalid value for option") => {
            format!("{reason}: {UNREADABLE}")
        }
        _ => UNREADABLE.to_owned(),
    }
}

/// The user, the hosts and the database.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let hosts: Vec<String> = if self.config.get_hosts().is_empty() {
            addresses.collect()
        } else {
            named.collect()
        };
        for (at, host) in hosts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{host}")?;
            if let Some(port) = ports.get(at).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
