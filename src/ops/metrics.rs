//! The metrics, with the same names in every build.
//!
//! Each relay has a recorder of its own rather than the process's global one, so that several
//! relays in one process (tests, an embedding program) are not counted together.
//!
//! - Here: what stands for the whole relay. `recorder`: the recorder, and buckets of histograms.
//! - `sources`, `verification`: counters by source. `destinations`: gauges by destination.
//!   `removed`: the series of those that a reload has removed.
//! - `listeners`, `tls`: connections and handshakes.
//! - `space`: the disk. `vacuum`: dead rows in PostgreSQL. `nodes`: the share and lease of a node.
//!   `backup`: the hold and backups. `config`: the configuration that runs.

#[cfg(test)]
mod tests;

mod backup;
mod config;
mod destinations;
mod listeners;
mod nodes;
mod recorder;
mod removed;
mod sources;
mod space;
mod tls;
mod vacuum;
mod verification;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};

pub(crate) use backup::BackupMetrics;
pub(crate) use config::ConfigMetrics;
pub(crate) use space::SpaceMetrics;
pub(crate) use tls::{HandshakeCounters, HandshakeResult};
pub(crate) use verification::{VerificationCounters, VerificationResult};

use self::recorder::{recorder, set_build_info};
use self::removed::ConfiguredNames;
use crate::model::{DeliveryState, Level, Surface};
use crate::ops::rollup_counters::RollupCounters;

const METADATA: Metadata<'_> = Metadata::new("relay", metrics::Level::INFO, None);

/// Dropped log lines. Process-wide, as standard error is: each relay of a process shows the same
/// number.
static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts dropped log lines: they were not read in time, or can't be written.
pub(crate) fn log_lines_dropped(lines: u64) {
    LOG_LINES_DROPPED.fetch_add(lines, Ordering::Relaxed);
}

/// A request's route, method and status.
type RequestLabels = (&'static str, &'static str, u16);

/// All counters, gauges and histograms.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: RwLock<HashMap<RequestLabels, Counter>>,
    request_duration: Histogram,
    accepted: [Counter; 2],
    /// By surface, and by whether the body differs.
    duplicates: [[Counter; 2]; 2],
    rate_limited: [Counter; 2],
    commits: Counter,
    commit_duration: Histogram,
    commit_batch_size: Histogram,
    delivery_latency: Histogram,
    log_lines_dropped: Counter,
    workers_busy: Gauge,
    oldest_due: Gauge,
    database_bytes: Gauge,
    wal_bytes: Gauge,
    wal_unfinished: Gauge,
    names: ConfiguredNames,
    /// The destinations whose blocking dead letters were counted last.
    blocked: Mutex<HashSet<String>>,
    /// The counts by name that the database keeps, beside those of Prometheus.
    pub(crate) rollups: RollupCounters,
    pub(crate) config: ConfigMetrics,
    pub(crate) backup: BackupMetrics,
    pub(crate) space: SpaceMetrics,
}

impl Metrics {
    /// All metrics at zero. `level` is the level that runs, for `relay_build_info`.
    pub fn new(level: Level) -> Self {
        let recorder = recorder();
        describe(&recorder);
        let handle = recorder.handle();
        set_build_info(&recorder, level);
        let counter = |name| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let gauge = |name| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let histogram = |name| recorder.register_histogram(&Key::from_static_name(name), &METADATA);
        let of_surfaces = |name: &'static str| {
            [Surface::Relay, Surface::Event].map(|surface| {
                let labels = vec![Label::new("surface", surface.name())];
                recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
            })
        };
        Self {
            requests: RwLock::new(HashMap::new()),
            request_duration: histogram("relay_http_request_duration_seconds"),
            accepted: of_surfaces("relay_accepted_total"),
            duplicates: [Surface::Relay, Surface::Event].map(|surface| {
                ["same", "differs"].map(|body| {
                    let labels = vec![
                        Label::new("surface", surface.name()),
                        Label::new("body", body),
                    ];
                    let key = Key::from_parts("relay_duplicates_total", labels);
                    recorder.register_counter(&key, &METADATA)
                })
            }),
            rate_limited: of_surfaces("relay_rate_limited_total"),
            commits: counter("relay_commits_total"),
            commit_duration: histogram("relay_commit_duration_seconds"),
            commit_batch_size: histogram("relay_commit_batch_size"),
            delivery_latency: histogram("relay_delivery_latency_seconds"),
            log_lines_dropped: counter("relay_log_lines_dropped_total"),
            workers_busy: gauge("relay_workers_busy"),
            oldest_due: gauge("relay_oldest_due_seconds"),
            database_bytes: gauge("relay_database_bytes"),
            wal_bytes: gauge("relay_wal_bytes"),
            wal_unfinished: gauge("relay_wal_unfinished_frames"),
            names: ConfiguredNames::default(),
            blocked: Mutex::default(),
            rollups: RollupCounters::new(),
            config: ConfigMetrics::new(gauge),
            backup: BackupMetrics::default(),
            space: SpaceMetrics::new(counter(space::COUNTER.0), gauge),
            handle,
            recorder,
        }
    }

    /// Counts a request that was answered.
    pub fn request(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        self.request_duration.record(took);
        let labels = (route, method, status);
        if let Some(counter) = self.requests.read().expect(NO_PANIC).get(&labels) {
            return counter.increment(1);
        }
        let counter = self.recorder.register_counter(
            &Key::from_parts(
                "relay_http_requests_total",
                vec![
                    Label::new("route", route),
                    Label::new("method", method),
                    Label::new("status", status.to_string()),
                ],
            ),
            &METADATA,
        );
        counter.increment(1);
        self.requests
            .write()
            .expect(NO_PANIC)
            .insert(labels, counter);
    }

    /// Counts an intent that was recorded.
    pub fn accepted(&self, surface: Surface) {
        self.accepted[surface as usize].increment(1);
    }

    /// Counts a request whose key named an earlier intent.
    pub fn duplicate(&self, surface: Surface, is_same_body: bool) {
        self.duplicates[surface as usize][usize::from(!is_same_body)].increment(1);
    }

    /// Counts a request that a rate limit refused.
    pub fn rate_limited(&self, surface: Surface) {
        self.rate_limited[surface as usize].increment(1);
    }

    /// The counters of a source's verifications. `source` is its label, `*` for the catch-all.
    pub(crate) fn verification_counters(&self, source: &str) -> VerificationCounters {
        let register = |key: &Key| self.recorder.register_counter(key, &METADATA);
        VerificationCounters::new(source, register)
    }

    /// Records the commit of a batch of operations.
    pub fn committed(&self, operations: usize, took: Duration) {
        self.commits.increment(1);
        self.commit_duration.record(took);
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        self.commit_batch_size.record(operations as f64);
    }

    /// Records the end of an attempt. `destination` is one of a bounded set of names.
    pub fn attempt(&self, destination: &str, outcome: &'static str, took: Duration) {
        let destination = Label::new("destination", destination.to_owned());
        let labels = vec![destination.clone(), Label::new("outcome", outcome)];
        self.recorder
            .register_counter(&Key::from_parts("relay_attempts_total", labels), &METADATA)
            .increment(1);
        self.recorder
            .register_histogram(
                &Key::from_parts("relay_attempt_duration_seconds", vec![destination]),
                &METADATA,
            )
            .record(took);
    }

    /// Records the time from the acceptance of an intent to its delivery.
    pub fn delivered(&self, latency: Duration) {
        self.delivery_latency.record(latency);
    }

    /// Sets the number of workers in an attempt.
    pub fn workers_busy(&self, busy: usize) {
        #[expect(clippy::cast_precision_loss, reason = "workers are few")]
        self.workers_busy.set(busy as f64);
    }

    /// Sets the number of deliveries in a state.
    pub fn deliveries(&self, state: DeliveryState, count: i64) {
        let labels = vec![Label::new("state", state.name())];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(&Key::from_parts("relay_deliveries", labels), &METADATA)
            .set(count as f64);
    }

    /// Sets the number of waiting deliveries that are kept back for a reason.
    pub fn deliveries_kept(&self, reason: &'static str, count: i64) {
        let labels = vec![Label::new("reason", reason)];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(&Key::from_parts("relay_deliveries_kept", labels), &METADATA)
            .set(count as f64);
    }

    /// Sets how long ago the oldest delivery was due, of those that nothing keeps back.
    pub fn oldest_due(&self, waiting: Duration) {
        self.oldest_due.set(waiting.as_secs_f64());
    }

    /// Sets the sizes of the database file and of the write-ahead log, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    pub fn file_sizes(&self, database: u64, wal: u64) {
        self.database_bytes.set(database as f64);
        self.wal_bytes.set(wal as f64);
    }

    /// Sets the number of frames of the write-ahead log that are not in the database yet.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 frames")]
    pub fn wal_unfinished(&self, frames: i64) {
        self.wal_unfinished.set(frames as f64);
    }

    /// Renders all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let dropped = LOG_LINES_DROPPED.load(Ordering::Relaxed);
        self.log_lines_dropped.absolute(dropped);
        let mut text = self.names.without_removed(self.handle.render());
        self.config.render(&mut text);
        self.backup.render(&mut text);
        text
    }

    /// Folds recorded durations into their buckets. Otherwise they accumulate in memory until the
    /// next scrape.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";

/// The help of the counters.
const COUNTERS: [(&str, &str); 10] = [
    ("relay_http_requests_total", "Requests answered."),
    ("relay_accepted_total", "Intents recorded."),
    (
        "relay_duplicates_total",
        "Requests whose key named an earlier intent.",
    ),
    (
        "relay_verifications_total",
        "Requests verified or not, by source and result.",
    ),
    (
        "relay_refused_total",
        "Requests that a source refused, by reason.",
    ),
    (
        "relay_rate_limited_total",
        "Requests refused for their rate.",
    ),
    (
        "relay_unrouted_total",
        "Events that no route of their source wanted.",
    ),
    ("relay_commits_total", "Transactions committed."),
    (
        "relay_attempts_total",
        "Delivery attempts that ended, by outcome.",
    ),
    (
        "relay_log_lines_dropped_total",
        "Log lines that nobody read in time, or that can't be written.",
    ),
];

/// The help of the gauges.
const GAUGES: [(&str, &str); 11] = [
    (
        "relay_deliveries",
        "Deliveries by state; delivered ones are not counted. Absent until they are \
         counted, soon after a start.",
    ),
    (
        "relay_deliveries_kept",
        "Waiting deliveries, due or not, that are kept back, by reason: their destination \
         is paused, held by Retry-After, has an open circuit breaker, or is no longer \
         configured.",
    ),
    (
        "relay_ordering_blocked",
        "Dead letters that keep the later deliveries of their ordering keys waiting, until they \
         are replayed or discarded. Absent until they are counted, soon after a start.",
    ),
    (
        "relay_oldest_due_seconds",
        "How long ago the longest-waiting delivery was due that should be going out: those \
         that are kept back don't count. 0 if delivery is off.",
    ),
    (
        "relay_destination_state",
        "1 for the state that a destination is in.",
    ),
    ("relay_workers_busy", "Workers in an attempt."),
    (
        "relay_node_buckets",
        "Buckets of destinations that this node delivers for; all nodes together have 256.",
    ),
    (
        "relay_node_lease_seconds",
        "Time for which this node may begin attempts without another heartbeat; 0 once others \
         may take its deliveries over.",
    ),
    (
        "relay_database_dead_tuples",
        "Rows of a table of PostgreSQL that were deleted or changed and not yet vacuumed.",
    ),
    (
        "relay_database_oldest_xmin_seconds",
        "How long the oldest transaction has been open whose snapshot keeps dead rows in \
         PostgreSQL.",
    ),
    (
        "relay_build_info",
        "1, with the version and the level that runs.",
    ),
];

/// The help of the histograms of durations, in seconds.
const DURATIONS: [(&str, &str); 4] = [
    (
        "relay_http_request_duration_seconds",
        "From a request's headers to its answer.",
    ),
    (
        "relay_commit_duration_seconds",
        "One transaction, its sync included.",
    ),
    ("relay_attempt_duration_seconds", "One delivery attempt."),
    (
        "relay_delivery_latency_seconds",
        "From acceptance to delivery.",
    ),
];

fn describe(recorder: &PrometheusRecorder) {
    for (name, help) in COUNTERS.into_iter().chain([tls::COUNTER, space::COUNTER]) {
        recorder.describe_counter(name.into(), None, SharedString::const_str(help));
    }
    let gauges = GAUGES.into_iter().chain(config::GAUGES);
    for (name, help) in gauges.chain([tls::GAUGE]).chain(space::GAUGES) {
        recorder.describe_gauge(name.into(), None, SharedString::const_str(help));
    }
    for (name, help) in DURATIONS {
        let seconds = Some(Unit::Seconds);
        recorder.describe_histogram(name.into(), seconds, SharedString::const_str(help));
    }
    recorder.describe_histogram(
        "relay_commit_batch_size".into(),
        None,
        SharedString::const_str("Operations in one transaction."),
    );
}
