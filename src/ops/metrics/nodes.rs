//! The gauges of this process among the nodes that share a database of PostgreSQL. On a file they
//! are absent.

use metrics::{Key, Recorder as _};

use super::{METADATA, Metrics};
use crate::store::OwnLease;

impl Metrics {
    /// Sets this node's share and lease.
    pub(crate) fn own_lease(&self, own: OwnLease) {
        let gauge = |name| {
            self.recorder
                .register_gauge(&Key::from_static_name(name), &METADATA)
        };
        #[expect(clippy::cast_precision_loss, reason = "buckets are few")]
        gauge("relay_node_buckets").set(own.buckets as f64);
        gauge("relay_node_lease_seconds").set(own.left.as_secs_f64());
    }
}
