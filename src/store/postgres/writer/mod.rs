//! The thread that records what is accepted: it takes all that waits, writes it with one statement,
//! and only then answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::own_node;
use super::retry::{CALL_LIMIT, Link, Patience};
use super::shared::Shared;
use crate::stop::Ending;
use crate::store::error::StoreError;

/// The writer looks around after being idle for this long.
const IDLE: Duration = Duration::from_millis(500);

/// A command to the writer.
pub enum Command {
    /// Wakes the writer, so that it looks at the request to stop.
    Wake,
}

pub struct Writer {
    queue: Receiver<Command>,
    shared: Arc<Shared>,
    link: Link,
    /// The newest row that was given to an intent.
    last_row: i64,
}

impl Writer {
    pub fn new(queue: Receiver<Command>, shared: Arc<Shared>, last_row: i64) -> Self {
        let link = shared.connector.link();
        Self {
            queue,
            shared,
            link,
            last_row,
        }
    }

    /// Runs until it is asked to stop and its queue is empty.
    fn run(mut self) -> Result<(), StoreError> {
        loop {
            self.shared.health.rest();
            let is_stopping = self.shared.stop.is_asked();
            let idle = if is_stopping { Duration::ZERO } else { IDLE };
            match self.queue.recv_timeout(idle) {
                Ok(Command::Wake) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if is_stopping => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.leave();
        Ok(())
    }

    /// Leaves the other nodes, as far as the server can be reached.
    fn leave(&mut self) {
        let epoch = self.shared.node.epoch();
        let patience = Patience {
            limit: CALL_LIMIT,
            stop: &self.shared.stop,
        };
        let left = self.link.call(patience, |sql| own_node::leave(sql, epoch));
        if let Err(error) = left {
            log::warn!(error:%; "this node could not leave: its lease has to end first");
        }
    }
}

/// Starts the writer's thread; returns its end.
pub fn spawn(writer: Writer, shared: Arc<Shared>) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-writer".to_owned());
    running.spawn(thread, move || run(writer, &shared))?;
    Ok(ended)
}

fn run(writer: Writer, shared: &Shared) {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
    shared.health.ended();
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => (shared.on_broken)(format!("the writer stopped: {error}")),
        Err(_) => (shared.on_broken)("the writer panicked".to_owned()),
    }
}
