//! `relay serve`: runs the relay.

use std::time::Duration;

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::signals::{ReloadRequests, ServerSignals};
use crate::cli::sockets;
use crate::cli::watchdog::{self, Starting};
use crate::config::{Config, ConfigFile as File, Loaded};
use crate::ops::fd_limit;
use crate::ops::logging;
use crate::ops::service_manager::ServiceManager;
use crate::relay::{ConfigOrigin, Relay, Reloader};
use crate::stop::Token;
use crate::store::OnHangup;

/// The key in the repository's relay.toml, which is public.
const DEV_KEY: &str = "dev-key";

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
}

impl Serve {
    pub fn run(&self) -> Result<(), CommandError> {
        // First of all: a SIGHUP before this would end the process.
        let signals = ServerSignals::receive()?;
        let file = File::new(self.file.path())?;
        let Loaded {
            config,
            fingerprint,
            ..
        } = file.load()?;
        logging::start(&config.log)?;
        say_if_missing(&file);
        fd_limit::raise();
        warn_of_keys(&config);
        let notes = config.idle_settings().into_iter();
        for note in notes.chain(config.network_notes()) {
            log::warn!("{note}");
        }
        let manager = ServiceManager::from_environment();
        let starting = Starting::tell(&manager)?;
        let sockets = sockets::take()?;
        let level = config.level();
        let database = config.database.shown();
        let grace = config.server.shutdown_grace;
        let origin = ConfigOrigin {
            file: Some(file),
            fingerprint: fingerprint.clone(),
            on_hangup: if signals.ignores_hangup() {
                OnHangup::Ignored
            } else {
                OnHangup::Reloads
            },
            manager: manager.clone(),
        };
        let relay = Relay::start_from(config, origin, sockets)?;
        drop(starting);
        let scheme = if relay.is_secure() { "https" } else { "http" };
        let address = format!("{scheme}://{}", relay.address());
        signals.started();
        manager.ready(&format!("serving at {address}"));
        attend_reloads(signals.reload_requests(), relay.reloader().clone())?;
        let admin = relay
            .admin_address()
            .map_or_else(|| "off".to_owned(), |address| address.to_string());
        log::info!(
            version = env!("CARGO_PKG_VERSION"), delivery_level:% = level,
            database = database.as_str(), admin = admin.as_str(),
            fingerprint:% = fingerprint;
            "listening at {address}"
        );
        run_until_stopped(relay, &signals, &manager, grace)
    }
}

/// Waits for the reason to stop, and stops. `grace` is that of the configuration.
fn run_until_stopped(
    relay: Relay,
    signals: &ServerSignals,
    manager: &ServiceManager,
    grace: Duration,
) -> Result<(), CommandError> {
    let is_stopping = Token::default();
    watchdog::start(manager, relay.pulses(), is_stopping.clone())?;
    if relay.wait(signals.asked()).is_ok() {
        log::info!("stopping: draining requests and attempts");
    }
    signals.stopping();
    is_stopping.cancel();
    manager.stopping(grace);
    // Returns the fatal error, if there was one, which has been logged.
    let stopped = relay.stop();
    match &stopped {
        Ok(()) => log::info!("stopped"),
        Err(error) => log::error!("ended: {error}"),
    }
    log::logger().flush();
    if stopped.is_err() {
        // At once: neither a part that hangs nor a standard error that is not read may keep the
        // process.
        std::process::exit(1);
    }
    Ok(())
}

/// Does the reloads that signals ask for, one at a time. The thread is not waited for: a reload
/// that the stop overtakes finds the store closed.
fn attend_reloads(requests: ReloadRequests, reloader: Reloader) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("relay-reload".to_owned())
        .spawn(move || {
            while let Some(is_dry_run) = requests.next() {
                // The result is in the log and in the database.
                let _ = reloader.reload_file(is_dry_run);
            }
        })?;
    Ok(())
}

/// Says that the built-in defaults count: in the wrong directory they make another database.
fn say_if_missing(file: &File) {
    if file.is_missing() {
        let directory = std::env::current_dir().unwrap_or_default();
        log::info!(
            directory:% = directory.display();
            "there is no relay.toml here, and so there is no source or destination: relay init \
             writes one, --config names another"
        );
    }
}

/// Warns of missing API keys, and of the public one.
fn warn_of_keys(config: &Config) {
    if config.api.keys.is_empty() {
        log::warn!(
            "no API key is configured: every call of /v1 answers 401 \
             (set api.keys or RELAY_API_KEYS)"
        );
    }
    let is_dev_key = config.api.keys.iter().any(|key| key.reveal() == DEV_KEY);
    if is_dev_key && !config.server.listen.ip().is_loopback() {
        log::warn!(
            "api.keys holds {DEV_KEY:?}, which everybody knows, and server.listen is {}: \
             choose another key",
            config.server.listen
        );
    }
}
