//! Signals that stop the server, from before its start to its end.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long a start goes on after a signal. Most take some ten milliseconds, and are then followed by
/// an orderly stop; a migration or a disk that hangs can take for ever, and is left as by a crash.
const START_WAIT: Duration = Duration::from_secs(1);

const SECOND: &str = "a second signal: exiting at once; the next start recovers";

/// What the server is doing, which decides what a signal means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Stopping,
}

/// Receives SIGTERM, SIGINT and SIGHUP on a thread of its own, so that nothing that hangs elsewhere
/// keeps a signal from ending the process. The thread lives as long as the process does: a signal
/// that has been handled once is never left to its default again.
pub(super) struct StopSignals {
    phase: watch::Sender<Phase>,
    asked: watch::Receiver<bool>,
}

impl StopSignals {
    /// Receives from now on; the first signal asks for a stop.
    pub fn receive() -> io::Result<Self> {
        let (phase, seen_phase) = watch::channel(Phase::Starting);
        let (ask, asked) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = Signals::new()?;
        drop(entered);
        thread::Builder::new()
            .name("relay-signals".to_owned())
            .spawn(move || runtime.block_on(attend(signals, seen_phase, ask)))?;
        Ok(Self { phase, asked })
    }

    /// Says that the server runs.
    pub fn started(&self) {
        self.phase.send_replace(Phase::Running);
    }

    /// Resolves once a signal has asked for a stop.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        if asked.wait_for(|&asked| asked).await.is_err() {
            // Its thread panicked: signals have no effect any more, and ask for nothing.
            std::future::pending::<()>().await;
        }
    }

    /// Says that the server stops, whether a signal or an error is why.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }
}

/// Asks for a stop at the first signal, and ends the process at a second one, or at one that comes when
/// the server stops already.
async fn attend(mut signals: Signals, mut phase: watch::Receiver<Phase>, ask: watch::Sender<bool>) {
    signals.next().await;
    let at_first = *phase.borrow();
    ask.send_replace(true);
    // A terminal that goes away may tell more than once.
    signals.hangup = None;
    if at_first == Phase::Stopping {
        exit("a signal during the stop: exiting at once; the next start recovers");
    }
    if at_first == Phase::Starting {
        tokio::select! {
            _ = phase.wait_for(|&phase| phase != Phase::Starting) => {}
            () = tokio::time::sleep(START_WAIT) => {
                exit("a signal during the start, which takes long: exiting; the next start recovers");
            }
            () = signals.next() => exit(SECOND),
        }
    }
    signals.next().await;
    exit(SECOND);
}

fn exit(why: &str) -> ! {
    log::warn!("{why}");
    log::logger().flush();
    process::exit(1)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// A terminal that goes away; none if the parent process had it ignored, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if is_hangup_ignored() {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether the parent process had SIGHUP ignored. Where the system doesn't tell, it is taken as not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is 1, and the mask's lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
