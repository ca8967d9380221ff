//! Signals of life, under the same names in every build.
//!
//! The recorder is our own rather than the process's global one, so that several relays in one
//! process (tests, an embedding program) don't count together.

#[cfg(test)]
mod tests;

mod verification;

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

pub(crate) use verification::{VerificationCounters, VerificationResult};

use crate::model::{DeliveryState, Surface};

const METADATA: Metadata<'_> = Metadata::new("relay", Level::INFO, None);

/// Upper bounds of the durations' buckets, in seconds: from a commit on a fast disk to a delivery's
/// timeout.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0,
];
/// Of the latency from acceptance to delivery, which retries stretch to days.
const LATENCY_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0,
];
/// Of the operations in a commit: powers of two up to a full batch.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Log lines that were dropped. Process-wide, as standard error is: each relay of a process shows
/// the same number.
static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// So many log lines were dropped: nobody read them in time, or they can't be written.
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
    duplicates: [Counter; 2],
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
}

impl Metrics {
    /// Everything at zero. `level` is the one that runs, for `relay_build_info`.
    pub fn new(level: crate::model::Level) -> Self {
        let buckets = |builder: PrometheusBuilder, name: &str, bounds: &[f64]| {
            builder
                .set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
                .expect("the bounds are not empty")
        };
        let builder = PrometheusBuilder::new();
        let builder = buckets(builder, "relay_http_request_duration_seconds", &SECONDS);
        let builder = buckets(builder, "relay_commit_duration_seconds", &SECONDS);
        let builder = buckets(builder, "relay_attempt_duration_seconds", &SECONDS);
        let builder = buckets(builder, "relay_delivery_latency_seconds", &LATENCY_SECONDS);
        let builder = buckets(builder, "relay_commit_batch_size", &BATCH);
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        describe(&recorder);

        let counter = |name| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let gauge = |name| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let histogram = |name| recorder.register_histogram(&Key::from_static_name(name), &METADATA);
        let of_surfaces = |name: &'static str| {
            [Surface::Relay, Surface::Event].map(|surface| {
                let labels = vec![Label::new("surface", surface.name())];
                recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
            })
        };
        recorder
            .register_gauge(
                &Key::from_parts(
                    "relay_build_info",
                    vec![
                        Label::new("version", env!("CARGO_PKG_VERSION")),
                        Label::new("level", level.to_string()),
                    ],
                ),
                &METADATA,
            )
            .set(1.0);
        Self {
            requests: RwLock::new(HashMap::new()),
            request_duration: histogram("relay_http_request_duration_seconds"),
            accepted: of_surfaces("relay_accepted_total"),
            duplicates: of_surfaces("relay_duplicates_total"),
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
            handle,
            recorder,
        }
    }

    /// A request was answered.
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

    /// An intent was recorded.
    pub fn accepted(&self, surface: Surface) {
        self.accepted[surface as usize].increment(1);
    }

    /// A key named an intent that was there already.
    pub fn duplicate(&self, surface: Surface) {
        self.duplicates[surface as usize].increment(1);
    }

    /// A request was refused for its rate.
    pub fn rate_limited(&self, surface: Surface) {
        self.rate_limited[surface as usize].increment(1);
    }

    /// The counters of a source's verifications. `source` is its label, `*` for the catch-all.
    pub(crate) fn verification_counters(&self, source: &str) -> VerificationCounters {
        let register = |key: &Key| self.recorder.register_counter(key, &METADATA);
        VerificationCounters::new(source, register)
    }

    /// A source refused a request by `allow_ips` or `require`.
    pub(crate) fn refused(&self, source: &str, reason: &'static str) {
        let source = Label::new("source", source.to_owned());
        let labels = vec![source, Label::new("reason", reason)];
        self.recorder
            .register_counter(&Key::from_parts("relay_refused_total", labels), &METADATA)
            .increment(1);
    }

    /// A batch of so many operations was committed.
    pub fn committed(&self, operations: usize, took: Duration) {
        self.commits.increment(1);
        self.commit_duration.record(took);
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        self.commit_batch_size.record(operations as f64);
    }

    /// An attempt ended. `destination` is one of a bounded set of names.
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

    /// A delivery arrived so long after it was accepted.
    pub fn delivered(&self, latency: Duration) {
        self.delivery_latency.record(latency);
    }

    /// So many workers are in an attempt.
    pub fn workers_busy(&self, busy: usize) {
        #[expect(clippy::cast_precision_loss, reason = "workers are few")]
        self.workers_busy.set(busy as f64);
    }

    /// Whether a destination is in a state (`active`, `held`, `paused`, `unknown`).
    pub fn destination_state(&self, destination: &str, state: &'static str, is: bool) {
        let labels = vec![
            Label::new("destination", destination.to_owned()),
            Label::new("state", state),
        ];
        self.recorder
            .register_gauge(
                &Key::from_parts("relay_destination_state", labels),
                &METADATA,
            )
            .set(f64::from(u8::from(is)));
    }

    /// So many deliveries are in a state.
    pub fn deliveries(&self, state: DeliveryState, count: i64) {
        let labels = vec![Label::new("state", state.name())];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(&Key::from_parts("relay_deliveries", labels), &METADATA)
            .set(count as f64);
    }

    /// So many waiting deliveries are kept back for a reason.
    pub fn deliveries_kept(&self, reason: &'static str, count: i64) {
        let labels = vec![Label::new("reason", reason)];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(&Key::from_parts("relay_deliveries_kept", labels), &METADATA)
            .set(count as f64);
    }

    /// How long ago the longest-waiting delivery was due that should be going out.
    pub fn oldest_due(&self, waiting: Duration) {
        self.oldest_due.set(waiting.as_secs_f64());
    }

    /// The sizes of the files.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    pub fn file_sizes(&self, database: u64, wal: u64) {
        self.database_bytes.set(database as f64);
        self.wal_bytes.set(wal as f64);
    }

    /// Frames of the write-ahead log that aren't in the database.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 frames")]
    pub fn wal_unfinished(&self, frames: i64) {
        self.wal_unfinished.set(frames as f64);
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        let dropped = LOG_LINES_DROPPED.load(Ordering::Relaxed);
        self.log_lines_dropped.absolute(dropped);
        self.handle.render()
    }

    /// Folds recorded durations into their buckets. Without it they pile up in memory until
    /// somebody scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";

fn describe(recorder: &PrometheusRecorder) {
    let counter = |name: &'static str, text: &'static str| {
        recorder.describe_counter(name.into(), None, SharedString::const_str(text));
    };
    counter("relay_http_requests_total", "Requests answered.");
    counter("relay_accepted_total", "Intents recorded.");
    counter(
        "relay_duplicates_total",
        "Requests whose key named an earlier intent.",
    );
    counter(
        "relay_verifications_total",
        "Requests verified or not, by source and result.",
    );
    counter(
        "relay_refused_total",
        "Requests that a source refused, by reason.",
    );
    counter(
        "relay_rate_limited_total",
        "Requests refused for their rate.",
    );
    counter("relay_commits_total", "Transactions committed.");
    counter(
        "relay_attempts_total",
        "Delivery attempts that ended, by outcome.",
    );
    counter(
        "relay_log_lines_dropped_total",
        "Log lines that nobody read in time, or that can't be written.",
    );
    let gauge = |name: &'static str, text: &'static str| {
        recorder.describe_gauge(name.into(), None, SharedString::const_str(text));
    };
    gauge(
        "relay_deliveries",
        "Deliveries by state; delivered ones are not counted. Absent until they are counted, soon after a start.",
    );
    gauge(
        "relay_deliveries_kept",
        "Waiting deliveries, due or not, that are kept back, by reason: their destination is paused, held by Retry-After, has an open circuit breaker, or is no longer configured.",
    );
    gauge(
        "relay_oldest_due_seconds",
        "How long ago the longest-waiting delivery was due that should be going out: those that are kept back don't count. 0 if delivery is off.",
    );
    gauge(
        "relay_destination_state",
        "1 for the state that a destination is in.",
    );
    gauge("relay_workers_busy", "Workers in an attempt.");
    gauge("relay_database_bytes", "Size of the database file.");
    gauge("relay_wal_bytes", "Size of the write-ahead log.");
    gauge(
        "relay_wal_unfinished_frames",
        "Pages in the write-ahead log that are not in the database yet; a reader that stays keeps them there.",
    );
    gauge(
        "relay_build_info",
        "1, with the version and the level that runs.",
    );
    let seconds = |name: &'static str, text: &'static str| {
        recorder.describe_histogram(
            name.into(),
            Some(Unit::Seconds),
            SharedString::const_str(text),
        );
    };
    seconds(
        "relay_http_request_duration_seconds",
        "From a request's headers to its answer.",
    );
    seconds(
        "relay_commit_duration_seconds",
        "One transaction, its sync included.",
    );
    seconds("relay_attempt_duration_seconds", "One delivery attempt.");
    seconds(
        "relay_delivery_latency_seconds",
        "From acceptance to delivery.",
    );
    recorder.describe_histogram(
        "relay_commit_batch_size".into(),
        None,
        SharedString::const_str("Operations in one transaction."),
    );
}
