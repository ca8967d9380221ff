//! The executor: takes what is due, attempts it on blocking threads, settles what came of it.
//!
//! - `dispatcher`: one thread, one tick at a time ([`dispatcher::Dispatcher::run_once`]). `schedule`:
//!   which destinations are looked at, and when; `plan`: what is claimed for them; `fair_share`: how workers
//!   are shared out; `gauges`: the states that metrics show.
//! - `pool`, `worker`: a fixed number of threads, each in one attempt. Nothing sleeps in a worker. What is claimed ahead for a quick destination
//!   begins in the place of an attempt that went well, and soon.
//! - `outcome`: pure: what an answer leads to.
//! - `ops`: the executor's own SQL: what is due, claim and settle, hand back; `measure` has a benchmark claim.
//! - `level`: what the three levels differ in. All gates live there.
//!
//! It knows nothing about HTTP's other side: it finds its work in the store.

mod admission;
#[cfg(test)]
mod counts_tests;
mod dispatcher;
mod fair_share;
mod levels;
mod ops;
mod outage_log;
mod outcome;
mod pool;
mod target;
#[cfg(test)]
mod tests;
mod wake;
mod worker;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use ops::measure;
pub(crate) use wake::Wake;

use crate::clock::Clock;
use crate::config::Resolved;
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::stop::{Ending, Stop};
use crate::store::Store;
use dispatcher::Dispatcher;
use pool::Pool;

/// What an executor works with.
pub(crate) struct Context {
    pub config: Arc<Resolved>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub fatal: Fatal,
    /// Asks the dispatcher to claim nothing more, to let attempts finish until the deadline, and to
    /// release the rest.
    pub stop: Stop,
    pub own_listeners: Vec<SocketAddr>,
    pub wake: Wake,
}

/// A running executor, or one that has ended already if the level is off.
pub(crate) struct Executor {
    /// The end of claims, settlements and releases.
    pub dispatcher: Ending,
    /// The end of all attempts. The dispatcher's end cuts those in flight, but a worker that connects
    /// or resolves a name ends after its timeout only; its delivery has been released by then.
    pub workers: Ending,
}

/// Starts the executor of the configured level.
pub(crate) fn start(context: Context) -> std::io::Result<Executor> {
    let level = context.config.level();
    match levels::parts(level, &context)? {
        Some(parts) => run(context, parts),
        None => Ok(Executor {
            dispatcher: Ending::already(),
            workers: Ending::already(),
        }),
    }
}

/// Runs a level's parts on threads of their own.
fn run(context: Context, parts: levels::Parts) -> std::io::Result<Executor> {
    let fatal = context.fatal.clone();
    let wake = context.wake.clone();
    context.clock.on_jump(Box::new(move || wake.wake()));
    let wake = context.wake.clone();
    context.stop.on_ask(move || wake.wake());
    let pool = Pool::start(&context, Arc::clone(&parts.transport))?;
    let workers = pool.ended();
    let mut dispatcher = Dispatcher::new(context, parts, pool);
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-dispatcher".to_owned());
    running.spawn(thread, move || {
        if catch_unwind(AssertUnwindSafe(|| dispatcher.run())).is_err() {
            fatal.raise("the dispatcher panicked");
        }
    })?;
    Ok(Executor {
        dispatcher: ended,
        workers,
    })
}
