use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, logging};
use crate::config::Config;
use crate::descriptors;
use crate::model::Level;
use crate::relay::Relay;

/// The key in the repository's relay.toml, which everybody knows.
const DEV_KEY: &str = "dev-key";

pub(super) fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file)?;
    logging::start(&config.log)?;
    descriptors::raise();
    warn(&config);
    warn_of_idle_settings(&config);
    let level = config.level();
    let database = config.database.path.display().to_string();
    let relay = Relay::start(config)?;
    let admin = relay
        .admin_address()
        .map_or_else(|| "off".to_owned(), |address| address.to_string());
    relay.wait(async {
        // Before anybody is told that it runs: who reads the line may send a signal at once.
        let signals = stop_signals();
        log::info!(
            version = env!("CARGO_PKG_VERSION"), delivery_level:% = level,
            database = database.as_str(), admin = admin.as_str();
            "listening at http://{}", relay.address()
        );
        match signals {
            Ok(signals) => first_then_exit(signals).await,
            Err(error) => {
                log::error!(error:% = error; "signals can't be received: only SIGKILL ends this process");
                std::future::pending::<()>().await;
            }
        }
    })?;
    log::info!("stopping: draining requests and attempts");
    relay.stop()?;
    log::info!("stopped");
    Ok(())
}

fn warn(config: &Config) {
    if config.api.keys.is_empty() {
        log::warn!(
            "no API key is configured: every call of /v1 answers 401 (set api.keys or RELAY_API_KEYS)"
        );
    }
    let is_dev_key = config.api.keys.iter().any(|key| key.reveal() == DEV_KEY);
    if is_dev_key && !config.server.listen.ip().is_loopback() {
        log::warn!(
            "api.keys holds {DEV_KEY:?}, which everybody knows, and server.listen is {}: choose another key",
            config.server.listen
        );
    }
}

/// Settings that the level which runs has no use for. They may stand: a file is used by several
/// builds. But nobody should believe that they hold.
fn warn_of_idle_settings(config: &Config) {
    let level = config.level();
    if !matches!(level, Level::Simulated | Level::Http) {
        return;
    }
    for (name, to) in &config.destinations {
        let set = [
            ("rate_limit", to.rate_limit.is_some()),
            ("concurrency", to.concurrency.is_some()),
            (
                "retry",
                to.retry.schedule.is_some() || to.retry.jitter.is_some(),
            ),
            ("secrets", !to.secrets.is_empty()),
        ];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            log::warn!(
                "destinations.{name}.{key} has no effect at delivery.level = \"{level}\": it wants \"durable\""
            );
        }
    }
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// A terminal that goes away; none if somebody had it ignored, as `nohup` does.
    hangup: Option<Signal>,
}

fn stop_signals() -> std::io::Result<StopSignals> {
    Ok(StopSignals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: if is_hangup_ignored() {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        },
    })
}

/// Whether whoever started us said so. Where the system doesn't tell, nobody did.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is 1, and the mask's lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

impl StopSignals {
    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Returns at the first signal, and leaves somebody behind for the second.
async fn first_then_exit(mut signals: StopSignals) {
    signals.next().await;
    // A terminal that goes away may tell more than once.
    signals.hangup = None;
    tokio::spawn(async move {
        signals.next().await;
        log::warn!("a second signal: exiting at once; the next start recovers");
        std::process::exit(1);
    });
}
