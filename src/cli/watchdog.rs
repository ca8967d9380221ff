//! Keeps the service manager informed: while the start lasts, and then for as long as the parts
//! that everything depends on work.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::ops::service_manager::ServiceManager;
use crate::relay::Pulses;
use crate::stop::Token;

/// The pause between two requests for more time while the start lasts.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Messages in the time within which the service manager wants one: a late one is followed by two.
const PINGS: u32 = 3;
/// A part hangs at the earliest after this time: a commit waits 5 s for another process's
/// transaction, and a checkpoint may follow it.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// The thread that tells of the start. Dropping this ends it, so that nothing it says comes later.
pub(super) struct Starting {
    over: Token,
    thread: Option<JoinHandle<()>>,
}

impl Starting {
    /// Begins to ask for time.
    pub fn tell(manager: &ServiceManager) -> io::Result<Self> {
        let over = Token::default();
        let told = manager.is_there().then(|| {
            let (manager, ended) = (manager.clone(), over.clone());
            let thread = thread::Builder::new().name("relay-watchdog".to_owned());
            thread.spawn(move || {
                let mut rest = Duration::ZERO;
                while !ended.wait(rest) {
                    manager.starting();
                    rest = ASK_EVERY;
                }
            })
        });
        Ok(Self {
            over,
            thread: told.transpose()?,
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.over.cancel();
        if let Some(thread) = self.thread.take() {
            // It has nothing to return, and its panic would have a line in the log.
            let _ = thread.join();
        }
    }
}

/// Tells the service manager that relay works, for as long as it does, on a thread of its own. The
/// thread lives as long as the process.
///
/// A commit that is refused counts as work: on a full disk a restart would change nothing. During
/// the stop nothing is asked of the parts, since the stop has deadlines of its own.
pub(super) fn start(
    manager: &ServiceManager,
    pulses: Pulses,
    is_stopping: Token,
) -> io::Result<()> {
    let Some(limit) = manager.watchdog() else {
        return Ok(());
    };
    let manager = manager.clone();
    let hangs_after = (limit / 2).max(HANGS_AFTER);
    let every = (limit / PINGS).max(Duration::from_millis(1));
    let thread = thread::Builder::new().name("relay-watchdog".to_owned());
    thread.spawn(move || {
        let mut was_turning = true;
        loop {
            let hanging = pulses
                .hanging(hangs_after)
                .filter(|_| !is_stopping.is_cancelled());
            match hanging {
                None => manager.alive(),
                Some(part) if was_turning => {
                    log::error!(part; "a part hangs: the watchdog is no longer fed");
                }
                Some(_) => {}
            }
            was_turning = hanging.is_none();
            thread::sleep(every);
        }
    })?;
    Ok(())
}
