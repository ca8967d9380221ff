//! The recorder of the metrics, and the buckets of its histograms.

use metrics::{Key, Label, Metadata, Recorder as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use crate::model::Level;

const METADATA: Metadata<'_> = Metadata::new("relay", metrics::Level::INFO, None);

/// Upper bounds of the buckets of durations, in seconds: from a commit on a fast disk to the
/// timeout of a delivery.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0,
];
/// Upper bounds of the buckets of the latency from acceptance to delivery, in seconds: retries
/// stretch it to days.
const LATENCY_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0,
];
/// Upper bounds of the buckets of the operations in a commit: powers of two up to a full batch.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// A recorder with the buckets of the histograms.
pub(super) fn recorder() -> PrometheusRecorder {
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
    builder.build_recorder()
}

/// Sets the identity of the build that runs.
pub(super) fn set_build_info(recorder: &PrometheusRecorder, level: Level) {
    let labels = vec![
        Label::new("version", env!("CARGO_PKG_VERSION")),
        Label::new("level", level.to_string()),
    ];
    recorder
        .register_gauge(&Key::from_parts("relay_build_info", labels), &METADATA)
        .set(1.0);
}
