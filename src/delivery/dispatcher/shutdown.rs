//! The dispatcher's end.

use std::time::Duration;

use crate::delivery::dispatcher::plan::LOOK_EVERY;
use crate::delivery::dispatcher::{Dispatcher, REFUSED_PAUSE};
use crate::stop::Deadline;

impl Dispatcher {
    /// Claims nothing more, settles the attempts that finish by the deadline, and releases the
    /// rest: an attempt interrupted by a stop is not a failed one.
    pub(super) fn shut_down(&mut self, deadline: &Deadline) {
        // Other nodes need not wait for the requests that are drained beside this.
        self.context.store.hand_over();
        self.pool.recall(self.targets.ids());
        loop {
            self.collect_completions();
            self.commit(&[], Duration::ZERO);
            let left = deadline.left();
            // Once the store has ended, no outcome can be recorded.
            self.is_over |= self.context.store.ended().wait(&Deadline::now());
            let is_all_settled =
                self.ledger.claimed() == 0 && self.unsettled.is_empty() && self.releases.is_empty();
            if is_all_settled || left.is_zero() || self.is_over {
                break;
            }
            let pause = if self.is_refused {
                REFUSED_PAUSE
            } else {
                LOOK_EVERY
            };
            self.context.wake.wait(left.min(pause));
        }
        if self.ledger.claimed() > 0 && !self.is_over {
            let attempts = self.ledger.claimed();
            log::warn!(
                attempts;
                "attempts were still under way at the end of server.shutdown_grace: \
                 they are handed back"
            );
            self.releases.extend(self.ledger.close_all());
            self.commit(&[], Duration::ZERO);
        }
    }
}
