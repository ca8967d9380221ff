//! The signals of the server, from before its start to its end.
//!
//! SIGTERM and SIGINT stop it. SIGHUP reloads the configuration, and SIGUSR1 tells what a reload
//! would do: `relay reload` sends them.

use std::io::{self, IsTerminal as _};
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::stop::Token;

/// How long a start may go on after a signal. Most starts take some ten milliseconds, and are
/// then followed by an orderly stop. A migration or a disk that hangs can take for ever: the
/// process exits, as by a crash.
const START_WAIT: Duration = Duration::from_secs(1);

const SECOND: &str = "a second signal: exiting at once; the next start recovers";

/// The phase of the server. It decides what a signal means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Stopping,
}

/// Receives the signals on a thread of its own, so that a part that hangs doesn't keep a signal
/// from ending the process. The thread lives as long as the process: a signal that was handled once
/// never regains its default action.
pub(super) struct ServerSignals {
    phase: watch::Sender<Phase>,
    asked: Token,
    requests: ReloadRequests,
    ignores_hangup: bool,
}

impl ServerSignals {
    /// Receives from now on. The first SIGTERM or SIGINT asks for a stop; reloads wait until they
    /// are taken.
    pub fn receive() -> io::Result<Self> {
        let (phase, seen_phase) = watch::channel(Phase::Starting);
        let asked = Token::default();
        let requests = ReloadRequests::default();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let ignores_hangup = is_hangup_ignored();
        let stops = Stops::new()?;
        let reloads = Reloads::new(ignores_hangup)?;
        drop(entered);
        let ask = asked.clone();
        let attended = (seen_phase.clone(), requests.clone());
        thread::Builder::new()
            .name("relay-signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let (phase, requests) = attended;
                    tokio::select! {
                        () = attend_stops(stops, seen_phase, ask) => {}
                        () = attend_reloads(reloads, phase, requests) => {}
                    }
                });
            })?;
        Ok(Self {
            phase,
            asked,
            requests,
            ignores_hangup,
        })
    }

    /// Whether SIGHUP is ignored, as the parent process wanted it: `nohup` does.
    pub fn ignores_hangup(&self) -> bool {
        self.ignores_hangup
    }

    /// The reloads that signals ask for.
    pub fn reload_requests(&self) -> ReloadRequests {
        self.requests.clone()
    }

    /// The server runs from now on.
    pub fn started(&self) {
        self.phase.send_replace(Phase::Running);
    }

    /// Resolves once a signal has asked for a stop.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// The server stops from now on, because of a signal or of an error.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
        self.requests.close();
    }
}

/// The reloads that were asked for and have not begun: at most one, and one dry run. However many
/// signals arrive while a reload runs, one more follows, which reads what they were sent for.
#[derive(Clone, Default)]
pub(super) struct ReloadRequests(Arc<(Mutex<Pending>, Condvar)>);

#[derive(Default)]
struct Pending {
    reload: bool,
    dry_run: bool,
    is_closed: bool,
}

impl ReloadRequests {
    fn ask(&self, is_dry_run: bool) {
        let mut pending = self.pending();
        if is_dry_run {
            pending.dry_run = true;
        } else {
            pending.reload = true;
        }
        self.0.1.notify_one();
    }

    /// Waits for the next one; whether it is a dry run. None once the server stops.
    pub fn next(&self) -> Option<bool> {
        let is_idle =
            |pending: &mut Pending| !pending.reload && !pending.dry_run && !pending.is_closed;
        let pending = self.0.1.wait_while(self.pending(), is_idle);
        let mut pending = pending.unwrap_or_else(PoisonError::into_inner);
        if pending.is_closed {
            return None;
        }
        // A reload that was asked for is not kept waiting.
        if std::mem::take(&mut pending.reload) {
            return Some(false);
        }
        pending.dry_run = false;
        Some(true)
    }

    fn close(&self) {
        self.pending().is_closed = true;
        self.0.1.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for a stop at the first signal. Ends the process at a second one, and at one that arrives
/// when the server is stopping already.
async fn attend_stops(mut stops: Stops, mut phase: watch::Receiver<Phase>, ask: Token) {
    stops.next().await;
    let at_first = *phase.borrow();
    ask.cancel();
    if at_first == Phase::Stopping {
        exit("a signal during the stop: exiting at once; the next start recovers");
    }
    if at_first == Phase::Starting {
        tokio::select! {
            _ = phase.wait_for(|&phase| phase != Phase::Starting) => {}
            () = tokio::time::sleep(START_WAIT) => {
                exit(
                    "a signal during the start, which takes long: exiting; the next start recovers",
                );
            }
            () = stops.next() => exit(SECOND),
        }
    }
    stops.next().await;
    exit(SECOND);
}

/// Asks for reloads. During a stop there are none.
async fn attend_reloads(
    mut reloads: Reloads,
    phase: watch::Receiver<Phase>,
    requests: ReloadRequests,
) {
    let mut terminal = Terminal::of_start();
    let mut has_said_no = false;
    loop {
        let is_dry_run = reloads.next().await;
        if !is_dry_run {
            terminal.warn_if_gone();
        }
        if *phase.borrow() == Phase::Stopping {
            if !std::mem::replace(&mut has_said_no, true) {
                log::warn!("the configuration is not reloaded: the relay is stopping");
            }
        } else {
            requests.ask(is_dry_run);
        }
    }
}

/// The terminal that standard input was at the start, if it was one.
struct Terminal {
    is_there: bool,
}

impl Terminal {
    fn of_start() -> Self {
        Self {
            is_there: io::stdin().is_terminal(),
        }
    }

    /// A terminal that goes away sends SIGHUP. It used to stop the relay.
    fn warn_if_gone(&mut self) {
        if self.is_there && !io::stdin().is_terminal() {
            self.is_there = false;
            log::warn!(
                "the terminal of the start is gone: the relay goes on, and SIGTERM stops it"
            );
        }
    }
}

fn exit(why: &str) -> ! {
    log::warn!("{why}");
    log::logger().flush();
    process::exit(1)
}

struct Stops {
    terminate: Signal,
    interrupt: Signal,
    /// Sent with a write that the limit of a file's size refuses: unless it is handled, it ends the
    /// process without a word. Handled, the write fails.
    _file_size: Signal,
}

impl Stops {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Reloads {
    /// None if the parent process ignored the signal.
    hangup: Option<Signal>,
    user: Signal,
}

impl Reloads {
    fn new(ignores_hangup: bool) -> io::Result<Self> {
        let hangup = (!ignores_hangup).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            hangup: hangup.transpose()?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal; whether it asks for a dry run.
    async fn next(&mut self) -> bool {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => false,
            _ = self.user.recv() => true,
        }
    }
}

/// Whether the parent process had SIGHUP ignored. Where the system doesn't tell, it is taken as
/// not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1: the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests;
