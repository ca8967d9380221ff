//! What the levels differ in: a transport, an admission. All gates live here.

mod local;
mod simulated;

#[cfg(feature = "delivery-durable")]
mod durable;
#[cfg(feature = "delivery-http")]
mod http;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::delivery::Context;
use crate::delivery::admission::{Admission, Unlimited};
use crate::delivery::ops::Shipment;
use crate::delivery::outcome::Outcome;
use crate::delivery::pool::Job;
use crate::model::Level;

/// How an attempt is made.
pub(super) trait Transport: Send + Sync {
    /// Makes one, and comes back by the destination's timeout. `wall` is the time as the receiver
    /// knows it.
    fn attempt(&self, shipment: &Shipment, job: &Job, wall: Timestamp) -> Outcome;

    /// Cuts short what is under way. What it still returns is not looked at.
    fn abort(&self);
}

/// What a level hands the executor.
pub(super) struct Parts {
    pub transport: Arc<dyn Transport>,
    pub admission: Box<dyn Admission>,
}

/// The parts of a level; none if nothing is to run. A level that isn't compiled in has been refused
/// with the configuration. An error is a file that the configuration names and that can't be used.
#[allow(
    clippy::unnecessary_wraps,
    reason = "in a build without HTTP there is no such file"
)]
pub(super) fn parts(level: Level, context: &Context) -> std::io::Result<Option<Parts>> {
    Ok(match level {
        Level::Simulated => Some(Parts {
            transport: Arc::new(simulated::Simulated::new(context)),
            admission: Box::new(Unlimited),
        }),
        #[cfg(feature = "delivery-http")]
        Level::Http => Some(Parts {
            transport: Arc::new(http::Http::new(context, None)?),
            admission: Box::new(Unlimited),
        }),
        #[cfg(feature = "delivery-durable")]
        Level::Durable => Some(Parts {
            transport: Arc::new(http::Http::new(context, Some(durable::sign))?),
            admission: Box::new(durable::PerDestination::new(context)),
        }),
        _ => None,
    })
}
