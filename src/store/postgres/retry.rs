//! Calls that are made again after a failure, on a new connection if need be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::config::{self, Secret};
use crate::stop::{Deadline, Stop};
use crate::store::error::OpenError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::url::{DatabaseUrl, SettingNames};

/// How long a call may take. Longer than the longest `database.statement_timeout`, so that a server
/// that still answers says that it was too slow.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// How long the last attempt of a call may take, however little is left of its patience: enough for
/// a new connection to a healthy server.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

/// The first wait for a server that can't be reached, after the attempt that is made at once; each
/// later wait is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);

const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often a statement that met a conflict is made again.
const CONFLICTS: u32 = 5;

/// The longest wait after a conflict.
const LONGEST_CONFLICT: Duration = Duration::from_millis(20);

/// How often an outage that goes on is logged.
const REMINDER: Duration = Duration::from_secs(60);

/// Makes connections to the server, and knows whether it can be reached.
pub struct Connector {
    url: DatabaseUrl,
    limit: Duration,
    /// Counts up when all connections must be made anew. See [`Class::ReadOnly`].
    generation: AtomicU64,
    /// Set while the server can't be reached.
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    began: Stopwatch,
    logged: Stopwatch,
}

/// A connection that is replaced when it is lost.
pub struct Link {
    connector: Arc<Connector>,
    connection: Option<Connection>,
    generation: u64,
}

/// How long a call is made again and again while the server can't be reached. A server that says
/// nothing ends it [`LAST_ATTEMPT`] later at most.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    pub limit: Duration,
    /// Once it is asked, an outage isn't waited for.
    pub stop: &'a Stop,
}

impl Connector {
    pub fn new(url: DatabaseUrl, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            url,
            limit,
            generation: AtomicU64::new(0),
            outage: Mutex::new(None),
        })
    }

    /// A connector to the server that the settings name. `names`: what they are called.
    pub fn of_settings(
        url: &Secret,
        settings: &config::Database,
        names: SettingNames,
    ) -> Result<Arc<Self>, OpenError> {
        let ca_file = settings.ca_file.as_deref();
        let url = DatabaseUrl::read(url, ca_file, settings.statement_timeout, names);
        let url = url.map_err(|wrong| OpenError::Server {
            database: wrong.name.to_owned(),
            problem: wrong.problem,
        })?;
        Ok(Self::new(url, CALL_LIMIT))
    }

    /// The error of a start that this failure ends.
    pub fn refused(&self, failure: &Failure) -> OpenError {
        OpenError::Server {
            database: self.url.to_string(),
            problem: failure.to_string(),
        }
    }

    /// A link, which connects at its first call.
    pub fn link(self: &Arc<Self>) -> Link {
        Link {
            connector: self.clone(),
            connection: None,
            generation: 0,
        }
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Connection, Failure> {
        self.connect_within(self.limit)
    }

    /// One of several hosts may be silent: the others need their time too.
    fn connect_within(&self, limit: Duration) -> Result<Connection, Failure> {
        let limit = if self.url.has_many_hosts() {
            self.limit
        } else {
            limit
        };
        let made = Connection::open(&self.url, limit);
        match &made {
            Ok(_) => self.reached(),
            Err(failure) => self.failed(failure),
        }
        made
    }

    /// The server, without its password.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How long the server could not be reached; none if it can be.
    pub fn away_for(&self) -> Option<Duration> {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.as_ref().map(|outage| outage.began.elapsed())
    }

    fn reached(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = outage.take() {
            let seconds = outage.began.elapsed().as_secs_f64();
            log::info!(database:% = self.url, seconds; "the database can be reached again");
        }
    }

    fn failed(&self, failure: &Failure) {
        if failure.class() == Class::ReadOnly {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Stopwatch::start();
        let is_reminder = match &mut *outage {
            Some(outage) if outage.logged.elapsed() < REMINDER => return,
            Some(outage) => {
                outage.logged = now;
                true
            }
            None => {
                *outage = Some(Outage {
                    began: now,
                    logged: now,
                });
                false
            }
        };
        let again = if is_reminder { "still " } else { "" };
        let hint = match failure.class() {
            Class::Crowded => " (max_connections)",
            Class::ReadOnly => " (a standby, or default_transaction_read_only)",
            _ => "",
        };
        log::warn!(
            database:% = self.url, error:% = failure;
            "the database {again}can't be used{hint}: it is tried again until it can"
        );
    }
}

impl Link {
    /// Makes a call, and again by the class of its failure: on a new connection while the server
    /// can't be reached and patience lasts, a few times after a conflict, once more if it was too
    /// slow. The call must come to the same if it is made twice: a call whose connection was lost
    /// may have been committed. Blocks.
    pub fn call<T>(
        &mut self,
        patience: Patience<'_>,
        mut call: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let until = Deadline::within(patience.limit);
        let (mut outages, mut conflicts, mut was_slow) = (0, 0, false);
        loop {
            let limit = until.left().max(LAST_ATTEMPT).min(self.connector.limit);
            let failure = match self.once(&mut call, limit) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let may_go_on = match failure.class() {
                Class::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    // Also one that stops ends what it began.
                    let _ = patience.stop.wait(jittered(LONGEST_CONFLICT));
                    true
                }
                Class::TooSlow if !was_slow => {
                    was_slow = true;
                    true
                }
                _ if failure.ends_connection() => {
                    outages += 1;
                    let wait = outage_wait(outages);
                    outages == 1 || wait <= until.left() && !patience.stop.wait(wait)
                }
                _ => false,
            };
            if !may_go_on {
                return Err(failure);
            }
        }
    }

    /// The connection, made anew if it was lost. For callers that read notifications; all others
    /// [call](Self::call).
    pub fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection_within(self.connector.limit)
    }

    /// The same, whose calls may take this long.
    fn connection_within(&mut self, limit: Duration) -> Result<&mut Connection, Failure> {
        let generation = self.connector.generation.load(Ordering::Relaxed);
        let is_usable =
            |connection: &Connection| !connection.is_lost() && self.generation == generation;
        if !self.connection.as_ref().is_some_and(is_usable) {
            // The old one is closed first: the server may have no room for both.
            self.connection = None;
            self.connection = Some(self.connector.connect_within(limit)?);
            self.generation = self.connector.generation.load(Ordering::Relaxed);
        }
        let connection = self.connection.as_mut().ok_or_else(Failure::closed)?;
        connection.set_limit(limit);
        Ok(connection)
    }

    fn once<T>(
        &mut self,
        call: &mut impl FnMut(&mut Connection) -> Result<T, Failure>,
        limit: Duration,
    ) -> Result<T, Failure> {
        let made = call(self.connection_within(limit)?);
        if let Err(failure) = &made
            && failure.class() == Class::ReadOnly
        {
            self.connector.failed(failure);
        }
        made
    }
}

/// A call for a change that is made once: repeated, it finds nothing to do. If it does so after an
/// attempt whose answer was lost, that one may have made it. `is_made` tells by an answer.
pub fn once<T>(
    mut call: impl FnMut(&mut Connection) -> Result<T, Failure>,
    is_made: impl Fn(&T) -> bool,
) -> impl FnMut(&mut Connection) -> Result<T, Failure> {
    let mut was_lost = false;
    move |sql| {
        let answer = call(sql);
        match &answer {
            Err(failure) => was_lost |= failure.class() == Class::Lost,
            Ok(found) if was_lost && !is_made(found) => return Err(Failure::answer_lost()),
            Ok(_) => {}
        }
        answer
    }
}

/// None before the first attempt on a new connection, then [`FIRST_WAIT`], twice as long each time.
fn outage_wait(outages: u32) -> Duration {
    if outages <= 1 {
        return Duration::ZERO;
    }
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(outages - 2));
    jittered(wait.min(LONGEST_WAIT))
}

/// Half of a time up to the whole of it, so that nodes don't come back in step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
