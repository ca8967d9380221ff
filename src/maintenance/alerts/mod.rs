//! Alerts: tells the operator of changes of state, by events of the source `relay` in relay's own
//! queue.
//!
//! - [`AlertAgent`]: looks at the facts, and writes each change of state with the event that tells
//!   of it, in one transaction: a change is told once, whenever the process is killed.
//! - `look`: the facts. `watch`: the changes that they call for, and their texts. `gate`, `health`,
//!   `forecast`: their rules. `dead_letters`: the digest of what was given up. `states`: what was
//!   told last.
//! - `quota`: how many alerts are sent. `alert`, `message`: an alert, and its event.

mod alert;
mod dead_letters;
mod forecast;
mod gate;
mod health;
mod look;
mod message;
mod quota;
mod states;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use self::alert::Change;
use self::dead_letters::DeadLetterWatch;
use self::look::{Facts, Look};
use self::quota::Quota;
use self::states::States;
use self::watch::Watch;
use crate::clock::Clock;
use crate::config::{AlertPolicy, Live, Resolved};
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::ops::notices::Notices;
use crate::store::{AlertChange, AlertState, RaiseAlerts, Reader, Store, StoreError};

/// The time between two looks. A look reads three columns of each configured destination: 3 ms of
/// a reader with a thousand of them.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time between two looks at the backlog, which cost as much as there are destinations with
/// waiting deliveries.
const BACKLOG_EVERY: Duration = Duration::from_secs(30);

/// Looks for changes, and tells them.
pub(super) struct AlertAgent {
    store: Store,
    reader: Reader,
    config: Live,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    notices: Notices,
    /// None until they are read.
    states: Option<States>,
    watch: Watch,
    dead_letters: DeadLetterWatch,
    quota: Quota,
    next_look: Duration,
    next_backlog: Duration,
}

/// The alerts that are this process's to tell.
struct Share {
    /// Whether another process tells those of the relay as a whole.
    is_part: bool,
    /// The destinations that are told of.
    names: Vec<String>,
}

/// The parts that an agent looks at.
pub(super) struct AlertSources {
    pub store: Store,
    pub reader: Reader,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub notices: Notices,
}

impl AlertAgent {
    pub fn new(config: Live, sources: AlertSources) -> Self {
        let AlertSources {
            store,
            reader,
            clock,
            metrics,
            notices,
        } = sources;
        Self {
            store,
            reader,
            config,
            dead_letters: DeadLetterWatch::new(clock.now()),
            clock,
            metrics,
            notices,
            states: None,
            watch: Watch::default(),
            quota: Quota::default(),
            next_look: Duration::ZERO,
            next_backlog: Duration::ZERO,
        }
    }

    /// Makes a look, if one is due. An error means that nothing was told: the next look finds the
    /// same.
    pub fn run_once(&mut self) -> Result<(), StoreError> {
        let config = self.config.current();
        let alerts = config.alerts.as_ref();
        let to = alerts.and_then(|policy| Some((policy, policy.destination.as_ref()?)));
        let is_told = config.level() != Level::Off && !self.store.is_held();
        let Some((policy, destination)) = to.filter(|_| is_told) else {
            // A reload may turn alerts on, or the hold may be lifted: they begin then.
            self.dead_letters.begin(self.clock.now());
            return Ok(());
        };
        let monotonic = self.clock.monotonic();
        if monotonic < self.next_look {
            return Ok(());
        }
        self.next_look = monotonic + LOOK_EVERY;
        // Before the states are read: those that another process wrote as long as it told of these
        // are among them.
        let share = self.share(&config, destination);
        let mut states = self.states(&config, &share)?;
        let changes = self.changes(&config, destination, share, &states);
        let made = changes.and_then(|changes| self.tell((&config, policy), &states, changes));
        if let Ok(made) = &made {
            for change in made {
                states.set(change);
            }
        }
        self.states = Some(states);
        made.map(|_| ())
    }

    /// The states that were told last, without those of destinations that are gone: one that comes
    /// back is told of anew. Read once, unless others write them, too.
    fn states(&mut self, config: &Resolved, share: &Share) -> Result<States, StoreError> {
        let known = self.states.take().filter(|_| !self.store.is_shared());
        let mut states = match known {
            Some(states) => states,
            None => States::of(self.reader.alert_states()?),
        };
        if share.is_part {
            return Ok(states);
        }
        let gone = states.forget(|name| config.destinations.contains_key(name));
        for some in gone.chunks(RaiseAlerts::MAX_STATES) {
            self.store.forget_alerts(some.to_vec())?;
        }
        Ok(states)
    }

    fn changes(
        &mut self,
        config: &Resolved,
        destination: &str,
        share: Share,
        states: &States,
    ) -> Result<Vec<Change>, StoreError> {
        let facts = self.facts(config, destination, share)?;
        let look = Look {
            states,
            now: self.clock.now(),
            wall: self.clock.wall(),
            monotonic: self.clock.monotonic(),
        };
        let mut changes = self.watch.changes(&facts, &look);
        if facts.is_part {
            return Ok(changes);
        }
        let (store, reader) = (&self.store, &self.reader);
        changes.extend(
            self.dead_letters
                .change(store, reader, destination, &look)?,
        );
        Ok(changes)
    }

    /// The destinations that this process tells of: all but the alerts' own, unless others share
    /// the store.
    fn share(&self, config: &Resolved, destination: &str) -> Share {
        let names = config
            .destinations
            .keys()
            .filter(|name| *name != destination && self.store.serves(name));
        Share {
            is_part: !self.store.leads(),
            names: names.cloned().collect(),
        }
    }

    fn facts(
        &mut self,
        config: &Resolved,
        destination: &str,
        Share { is_part, names }: Share,
    ) -> Result<Facts, StoreError> {
        let stored = self.store.destination_facts(&self.reader, &names)?;
        let mut health = self.metrics.rollups.health();
        let destinations = names.into_iter().zip(stored).map(|(name, stored)| {
            let attempts = health.remove(&name).unwrap_or_default();
            (name, stored, attempts)
        });
        Ok(Facts {
            is_part,
            node: self.store.is_shared().then(|| config.node.own_name()),
            destinations: destinations.collect(),
            oldest_due: if is_part {
                None
            } else {
                self.oldest_due(config, destination)?
            },
            free: self.store.free_bytes(),
            min_free: config.database.min_free_bytes,
            ahead: self.clock.ahead(),
            noticed: self.notices.noticed(),
        })
    }

    /// How long the oldest delivery has been due, but for those to the alerts' own destination.
    fn oldest_due(
        &mut self,
        config: &Resolved,
        destination: &str,
    ) -> Result<Option<Duration>, StoreError> {
        let monotonic = self.clock.monotonic();
        if monotonic < self.next_backlog {
            return Ok(None);
        }
        let is_meant = |name: &str| name != destination && config.is_deliverable(name);
        let backlog = self.store.backlog_on(&self.reader, is_meant)?;
        self.next_backlog = monotonic + BACKLOG_EVERY;
        let now = self.clock.now();
        let age = backlog.oldest_due.map(|due| now.since(due));
        Ok(Some(age.unwrap_or_default()))
    }

    /// Writes changes and their alerts. Returns those that were written.
    fn tell(
        &mut self,
        (config, policy): (&Resolved, &AlertPolicy),
        states: &States,
        changes: Vec<Change>,
    ) -> Result<Vec<Change>, StoreError> {
        let now = self.clock.now();
        let changes = self.quota.admit(changes, RaiseAlerts::MAX_STATES, now);
        if changes.is_empty() {
            return Ok(changes);
        }
        let destinations: Arc<[String]> = policy.destination.iter().cloned().collect();
        let window = config.api.idempotency_window;
        let alerts = || changes.iter().filter_map(|change| change.alert.as_ref());
        let events = alerts().map(|alert| {
            let destinations = Arc::clone(&destinations);
            message::event(alert, policy.format, destinations, window)
        });
        let stored = changes.iter().map(|change| AlertChange {
            state: AlertState {
                kind: change.kind.name().to_owned(),
                subject: change.subject.clone(),
                state: change.state.to_owned(),
                since: change.since,
            },
            before: states.since(change),
        });
        self.store.raise_alerts(RaiseAlerts {
            changes: stored.collect(),
            events: events.collect(),
        })?;
        for alert in alerts() {
            let (kind, subject) = (alert.kind.name(), alert.subject.as_str());
            log::info!(alert = kind, subject; "alert sent");
        }
        self.quota.made(&changes, now);
        self.dead_letters.made(&changes);
        Ok(changes)
    }
}
