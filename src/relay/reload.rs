//! Takes another configuration over while the relay runs: all of it, or nothing.
//!
//! - `report`: the changes, in one line.

mod report;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, Timestamp};
use crate::config::{
    Changes, Config, ConfigFile, Fingerprint, Live, Loaded, Names, Resolved, fixed_settings,
};
use crate::delivery;
use crate::http::{LastReload, LiveApp};
use crate::model::Level;
use crate::ops::fd_limit;
use crate::ops::metrics::Metrics;
use crate::ops::notices::{Failure, Notices};
use crate::ops::pulse::Pulse;
use crate::ops::service_manager::ServiceManager;
use crate::relay::certificates::{Certificates, Prepared};
use crate::relay::demand::demand;
use crate::relay::error::ReloadError;
use crate::relay::pulses::Pulses;
use crate::store::{ConfigAttempt, OnHangup, Reader, Store};
use report::Report;

/// The origin of the configuration that a relay starts with.
pub(crate) struct ConfigOrigin {
    /// None if the program that embeds the relay made it.
    pub file: Option<ConfigFile>,
    pub fingerprint: Fingerprint,
    pub on_hangup: OnHangup,
    /// Told of reloads.
    pub manager: ServiceManager,
}

impl ConfigOrigin {
    /// The file, as it was named.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::shown)
    }

    /// That of a configuration that an embedding program made.
    pub fn program() -> Self {
        Self {
            file: None,
            fingerprint: Fingerprint::none(),
            on_hangup: OnHangup::NotOurs,
            manager: ServiceManager::default(),
        }
    }
}

/// The parts of a relay that a reload reaches.
pub(in crate::relay) struct Parts {
    pub live: Live,
    pub app: LiveApp,
    pub certificates: Certificates,
    pub executor: delivery::Reload,
    /// The dispatcher's.
    pub pulse: Pulse,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub notices: Notices,
    /// Connections to the public listener, as the start has bounded them.
    pub connections: u32,
}

/// Replaces the configuration of a running relay; clones share it.
#[derive(Clone)]
pub(crate) struct Reloader(Arc<Inner>);

struct Inner {
    parts: Parts,
    reader: Reader,
    file: Option<ConfigFile>,
    on_hangup: OnHangup,
    manager: ServiceManager,
    /// Held for the whole of a reload: there is one at a time.
    running: Mutex<Running>,
}

/// The configuration that runs, as it was read.
struct Running {
    config: Config,
    fingerprint: Fingerprint,
    generation: u64,
}

/// A reload to be done.
struct Request {
    config: Config,
    fingerprint: Fingerprint,
    /// The keys that variables override, in words.
    overridden: Option<String>,
    is_dry_run: bool,
}

impl Reloader {
    /// For a relay that has just started.
    pub(super) fn new(parts: Parts, config: Config, origin: ConfigOrigin) -> Self {
        let reloader = Self(Arc::new(Inner {
            reader: parts.store.reader(),
            parts,
            file: origin.file,
            on_hangup: origin.on_hangup,
            manager: origin.manager,
            running: Mutex::new(Running {
                config,
                fingerprint: origin.fingerprint,
                generation: 0,
            }),
        }));
        let running = reloader.running();
        reloader.show(&running);
        // Weak: the app is a part of the reloader.
        let inner = Arc::downgrade(&reloader.0);
        reloader
            .0
            .parts
            .app
            .reloads_by(move |is_dry_run| match inner.upgrade() {
                Some(inner) => Self(inner).reload_file(is_dry_run),
                None => Err("the relay is stopping".to_owned()),
            });
        let began_at = reloader.0.parts.clock.now();
        reloader.record(&running, began_at, false, Ok("started".to_owned()));
        drop(running);
        reloader
    }

    /// Reads the file anew, and lets it run if all of it is fine; otherwise the configuration that
    /// runs goes on. A dry run only tells what would change. Returns that in words, or why not;
    /// both are in the log as well. Blocks.
    ///
    /// The one function behind SIGHUP and `relay reload`, whoever calls it.
    pub fn reload_file(&self, is_dry_run: bool) -> Result<String, String> {
        let began_at = self.0.parts.clock.now();
        let mut running = self.running();
        let _told = (!is_dry_run).then(|| self.0.manager.reloading());
        let result = match &self.0.file {
            None => Err(ReloadError::NoFile),
            Some(file) => file.reload().map_err(ReloadError::from).and_then(|loaded| {
                let Loaded {
                    config,
                    fingerprint,
                    overrides,
                } = loaded;
                let request = Request {
                    config,
                    fingerprint,
                    overridden: overrides.describe(),
                    is_dry_run,
                };
                self.apply(&mut running, request)
            }),
        };
        self.conclude(&running, began_at, is_dry_run, result)
    }

    /// Lets a configuration that a program made run. Blocks.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        config.check()?;
        let request = Request {
            config,
            fingerprint: Fingerprint::none(),
            overridden: None,
            is_dry_run: false,
        };
        let mut running = self.running();
        let report = self.apply(&mut running, request)?;
        self.show(&running);
        log_success(&running, &report);
        Ok(())
    }

    /// Checks what a configuration names, and lets it run unless that is a dry run.
    fn apply(&self, running: &mut Running, request: Request) -> Result<Report, ReloadError> {
        let fixed = fixed_settings(&running.config, &request.config);
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed.join(", ")));
        }
        let parts = &self.0.parts;
        let old = parts.live.current();
        let new = Arc::new(request.config.resolve().keeping(&old));
        let prepared = parts
            .executor
            .prepare(&new)
            .map_err(ReloadError::Unusable)?;
        let certificates = Prepared::read(&new).map_err(|(key, problem)| {
            ReloadError::Unusable(std::io::Error::other(format!("{key}: {problem}")))
        })?;
        let mut changes = Changes::between((&running.config, &old), (&request.config, &new));
        changes
            .keys
            .extend(parts.certificates.renewed(&certificates));
        let report = self.report(
            &changes,
            &prepared.renewed,
            (&old, &new),
            request.overridden,
        );
        if request.is_dry_run {
            return Ok(report);
        }
        // From the receivers of events backwards, so that no event is accepted for a destination
        // that its deliverer doesn't know.
        prepared.commit();
        parts.certificates.replace(certificates);
        parts.live.replace(Arc::clone(&new));
        parts.executor.adopt();
        parts.app.reload(Arc::clone(&new));
        let (sources, destinations) = (new.counted_sources(), new.counted_destinations());
        parts.metrics.declare(sources, destinations);
        crate::ops::logging::set_level(&request.config.log.level);
        self.warn_of_connections(&new);
        running.config = request.config;
        running.fingerprint = request.fingerprint;
        running.generation += 1;
        Ok(report)
    }

    fn report(
        &self,
        changes: &Changes,
        renewed: &[String],
        policies: (&Resolved, &Resolved),
        overridden: Option<String>,
    ) -> Report {
        let Names {
            added,
            changed,
            removed,
        } = &changes.destinations;
        let mut names: Vec<String> = [added, changed, removed, renewed].concat();
        names.sort_unstable();
        names.dedup();
        // Without the figures the line says the rest.
        let affected = self.0.reader.affected(&names).unwrap_or_default();
        Report::new(changes, renewed, policies, &affected, overridden)
    }

    /// Logs, counts and records the end of a reload.
    fn conclude(
        &self,
        running: &Running,
        began_at: Timestamp,
        is_dry_run: bool,
        result: Result<Report, ReloadError>,
    ) -> Result<String, String> {
        match &result {
            Ok(report) if is_dry_run => {
                log::info!(
                    changes = report.text.as_str(), overridden = report.overridden.as_deref();
                    "a reload would succeed; nothing was done"
                );
            }
            Ok(report) => {
                self.show(running);
                log_success(running, report);
            }
            Err(error) => {
                if !is_dry_run {
                    self.0.parts.metrics.config.refused();
                    self.0
                        .parts
                        .notices
                        .failed(Failure::ConfigReload, error.class());
                }
                let error = self.told(error);
                log::error!(
                    generation = running.generation, error = error.as_str();
                    "the configuration was not reloaded: the one before goes on"
                );
            }
        }
        let result = result.map(|report| report.with_overridden());
        let result = result.map_err(|error| self.told(&error));
        self.record(running, began_at, is_dry_run, result.clone());
        result
    }

    /// An error with the file that it is about, which some name already.
    fn told(&self, error: &ReloadError) -> String {
        match (error, &self.0.file) {
            (ReloadError::Fixed(_) | ReloadError::Unusable(_), Some(file)) => {
                format!("{}: {error}", file.shown().display())
            }
            _ => error.to_string(),
        }
    }

    fn show(&self, running: &Running) {
        let parts = &self.0.parts;
        parts.notices.succeeded(Failure::ConfigReload);
        let fingerprint = running.fingerprint.to_string();
        parts
            .metrics
            .config
            .runs(&fingerprint, running.generation, parts.clock.wall());
    }

    /// Tells `relay reload` about an attempt, and the operator's listener.
    fn record(
        &self,
        running: &Running,
        began_at: Timestamp,
        is_dry_run: bool,
        report: Result<String, String>,
    ) {
        if !is_dry_run {
            self.0.parts.app.note_reload(LastReload {
                at: began_at,
                error: report.as_ref().err().cloned(),
            });
        }
        let attempt = ConfigAttempt {
            began_at,
            is_dry_run,
            process: std::process::id(),
            generation: running.generation,
            fingerprint: running.fingerprint.to_string(),
            report,
            on_hangup: self.0.on_hangup,
        };
        if let Err(error) = self.0.parts.store.record_config(attempt) {
            log::warn!(error:%; "relay reload can't be told about this configuration");
        }
    }

    /// Warns if the new destinations take descriptors that connections may be using.
    fn warn_of_connections(&self, config: &Resolved) {
        let running = self.0.parts.connections;
        let fitting = fd_limit::fitting_now(&demand(config));
        if fitting < running {
            log::warn!(
                "the limit of open files leaves room for {fitting} connections beside these \
                 destinations, and {running} are allowed since the start: raise it, or restart"
            );
        }
    }

    /// The signs of life of a relay that has just started.
    pub(super) fn pulses(&self) -> Pulses {
        let parts = &self.0.parts;
        let has_dispatcher = parts.live.current().level() != Level::Off;
        Pulses {
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            dispatcher: has_dispatcher.then(|| parts.pulse.clone()),
            started_at: parts.clock.monotonic(),
        }
    }

    /// The certificates of the listeners.
    pub(super) fn certificates(&self) -> &Certificates {
        &self.0.parts.certificates
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // A reload that panicked has not taken effect, or has as a whole.
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_success(running: &Running, report: &Report) {
    log::info!(
        generation = running.generation, fingerprint:% = running.fingerprint,
        changes = report.text.as_str(), overridden = report.overridden.as_deref();
        "configuration reloaded"
    );
}
