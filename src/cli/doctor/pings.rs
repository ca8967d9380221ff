//! Events that test destinations: one attempt each, as any delivery would make it.

use std::sync::Arc;

use crate::cli::doctor::report::Report;
use crate::clock::Clock;
use crate::config::Resolved;
use crate::delivery;
use crate::model::SendPing;
use crate::store::Operator;

/// Sends them. None while a restored database is held: nothing may leave then.
pub(super) fn sender(
    report: &mut Report,
    config: &Arc<Resolved>,
    clock: &Arc<dyn Clock>,
) -> Option<SendPing> {
    let operator = Operator::reading(&config.database).ok();
    let hold = operator.and_then(|operator| operator.hold().ok().flatten());
    if hold.is_some() {
        let fact = "no destination was pinged: the database is held since its restore";
        report.warn("pings", fact, "relay resume --all lifts the hold");
        return None;
    }
    let listeners = [Some(config.server.listen), config.admin.listen];
    let listeners: Vec<_> = listeners.into_iter().flatten().collect();
    match delivery::pinger(config, clock, &listeners) {
        Ok(send) => Some(send),
        Err(error) => {
            report.fail("pings", error.to_string(), "");
            None
        }
    }
}
