//! The thread that keeps the lease, on a connection of its own: renews, takes lapsed nodes over,
//! and gives and grabs buckets.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::stop::{Ending, Stop};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::database_clock::{DatabaseClock, Look};
use crate::store::postgres::nodes::join::own;
use crate::store::postgres::nodes::lease_clock::{boot_millis, boot_nanos};
use crate::store::postgres::nodes::membership::{Answer, Membership, Step};
use crate::store::postgres::nodes::statements::{Made, News, claimed, make};
use crate::store::postgres::open::SchemaVersion;
use crate::store::postgres::retry::{Link, Patience};
use crate::store::postgres::shared::Shared;

/// While buckets are being drained, they are looked at this often.
const DRAINING: Duration = Duration::from_millis(100);

/// The longest time that a statement may take: a heartbeat, and a second at least, since it may
/// have to connect.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// Attempts under way end within this time, by default. A node that leaves waits for them no
/// longer: it may be unable to settle them.
const LEAVE_WITHIN: Duration = Duration::from_secs(15);

struct Heartbeat {
    shared: Arc<Shared>,
    link: Link,
    database_clock: DatabaseClock,
    /// Since when the tables are too new for this node, and why.
    outdated: Option<(Stopwatch, String)>,
    /// Whether heartbeats fail, so that it is logged once.
    is_failing: bool,
}

/// Starts the thread; it ends with the node.
pub fn spawn(shared: Arc<Shared>, database_clock: DatabaseClock) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-node".to_owned());
    let mut heartbeat = Heartbeat {
        link: shared.connector.link(),
        shared,
        database_clock,
        outdated: None,
        is_failing: false,
    };
    running.spawn(thread, move || heartbeat.run())?;
    Ok(ended)
}

impl Heartbeat {
    fn run(&mut self) {
        let every = self.shared.node_settings.heartbeat;
        let mut wait = every;
        let mut draining = BucketSet::EMPTY;
        while self.shared.node.wait(wait) {
            let began = boot_millis();
            self.beat();
            if self.has_left() {
                return;
            }
            let before = draining;
            (_, draining) = self.shared.node.update(|own| own.draining());
            let spent = Duration::from_millis(boot_millis().saturating_sub(began));
            wait = every.saturating_sub(spent);
            if !draining.without(before).is_empty() {
                // Of most buckets nothing is in flight: nobody waits for them any longer.
                wait = Duration::ZERO;
            } else if !draining.is_empty() {
                wait = wait.min(DRAINING);
            }
        }
    }

    /// Ends the process once nothing is this node's any more, if it is too old for the tables.
    fn has_left(&self) -> bool {
        let Some((since, problem)) = &self.outdated else {
            return false;
        };
        let (_, has_left) = self.shared.node.update(|own| own.identity().is_none());
        let is_over = has_left || since.elapsed() > LEAVE_WITHIN;
        if is_over {
            let database = self.shared.connector.url();
            (self.shared.on_broken)(format!(
                "{database}: {problem}; this node has left the others its deliveries"
            ));
        }
        is_over
    }

    /// Begins to leave if the tables are too new for this node.
    fn leave_if_outdated(&mut self, schema: SchemaVersion) {
        if let (Some(problem), None) = (schema.problem(), &self.outdated) {
            self.outdated = Some((Stopwatch::start(), problem));
            self.shared.node.update(Membership::leave);
        }
    }

    /// Makes a beat. Drained buckets are given up by it: once the claim is over that was under way
    /// when they were to be drained, no other is of them.
    fn beat(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (_, (identity, draining)) = shared.node.update(|own| (own.identity(), own.draining()));
        if let Some(identity) = identity
            && !draining.is_empty()
            && !shared.node.is_claim_stale()
        {
            self.drain(identity.epoch, draining);
        }
        shared.node.update(Membership::beat);
        while let (_, Some(step)) = shared.node.update(|own| own.step(boot_millis()).cloned()) {
            if let Err(failure) = self.step(&step) {
                shared.node.update(Membership::failed);
                self.failed(&failure);
                return;
            }
            self.is_failing = false;
        }
    }

    fn drain(&mut self, epoch: i64, draining: BucketSet) {
        let limit = self.limit();
        let claimed = call(&mut self.link, limit, |sql| claimed(sql, epoch));
        if let Ok(claimed) = claimed {
            let drained = draining.without(claimed);
            self.shared
                .node
                .update(|own| drained.iter().for_each(|bucket| own.drained(bucket)));
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let (_, (identity, is_leaving)) = shared
            .node
            .update(|node| (node.identity(), node.is_leaving()));
        let own = own(&shared.node_settings, &*shared.clock, identity, is_leaving);
        let limit = self.limit();
        let sent = boot_millis();
        let (made, look) = call(&mut self.link, limit, |sql| {
            let sent = boot_nanos();
            let made = make(sql, step, &own)?;
            let look = |news: News| Look::of(sent, boot_nanos(), news.database_time);
            let look = made.news.map(look);
            Ok((made, look))
        })?;
        if let Some(look) = look {
            self.database_clock.saw(look, &*shared.clock);
        }
        if !shared.node.is_ended() {
            report(step, &made);
        }
        if let (Answer::Renewed(None), Some(identity)) = (&made.answer, identity) {
            shared.in_flight.void(identity.epoch);
        }
        if let Some(news) = made.news {
            self.leave_if_outdated(news.schema);
            if shared.reloads.asked(news.reloads) {
                (shared.on_outside_write)();
            }
        }
        if matches!(made.answer, Answer::Joined(_)) {
            shared.reloads.begin_life();
        }
        let answered = boot_millis();
        let (has_gained, ()) = shared
            .node
            .update(|own| own.answered(made.answer, sent, answered));
        if has_gained {
            (shared.on_outside_write)();
        }
        Ok(())
    }

    fn limit(&self) -> Duration {
        self.shared.node_settings.heartbeat.max(LEAST_LIMIT)
    }

    fn failed(&mut self, failure: &Failure) {
        if !self.is_failing && !self.shared.stop.is_asked() {
            log::warn!(error:% = failure; "a heartbeat of this node failed");
        }
        self.is_failing = true;
    }
}

/// Makes a call once, and once more on a new connection: the next beat tries again.
fn call<T>(
    link: &mut Link,
    limit: Duration,
    mut call: impl FnMut(&mut crate::store::postgres::connection::Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let never = Stop::default();
    let patience = Patience {
        limit: Duration::ZERO,
        stop: &never,
    };
    link.call(patience, |sql| {
        sql.set_limit(limit);
        call(sql)
    })
}

fn report(step: &Step, made: &Made) {
    match (step, &made.answer) {
        (Step::TakeOver(other), _) => log::warn!(
            slot = other.slot, epoch = other.epoch, interrupted = made.interrupted;
            "another node's lease has lapsed: its deliveries were taken over"
        ),
        (_, Answer::Renewed(None)) => {
            log::warn!("another node has taken this one's deliveries over: it joins anew");
        }
        (_, Answer::Joined(own)) => log::info!(slot = own.slot, epoch = own.epoch; "node joined"),
        (_, Answer::Occupied(other)) => log::warn!(
            slot = other.identity.slot;
            "another node has this one's name: nothing is delivered until its lease has lapsed"
        ),
        (_, Answer::Exchanged { gave, grabbed }) if !gave.union(*grabbed).is_empty() => log::info!(
            gave = gave.len(), grabbed = grabbed.len();
            "buckets changed hands"
        ),
        _ => {}
    }
}
