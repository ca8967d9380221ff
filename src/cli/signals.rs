//! The signals that stop the server, from before its start to its end.

use std::io;
use std::process;
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

/// Receives SIGTERM, SIGINT and SIGHUP on a thread of its own, so that a part that hangs doesn't
/// keep a signal from ending the process. The thread lives as long as the process: a signal that
/// was handled once never regains its default action.
pub(super) struct StopSignals {
    phase: watch::Sender<Phase>,
    asked: Token,
}

impl StopSignals {
    /// Receives from now on; the first signal asks for a stop.
    pub fn receive() -> io::Result<Self> {
        let (phase, seen_phase) = watch::channel(Phase::Starting);
        let asked = Token::default();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = Signals::new()?;
        drop(entered);
        let ask = asked.clone();
        thread::Builder::new()
            .name("relay-signals".to_owned())
            .spawn(move || runtime.block_on(attend(signals, seen_phase, ask)))?;
        Ok(Self { phase, asked })
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
    }
}

/// Asks for a stop at the first signal. Ends the process at a second signal, and at one that
/// arrives when the server is stopping already.
async fn attend(mut signals: Signals, mut phase: watch::Receiver<Phase>, ask: Token) {
    signals.next().await;
    let at_first = *phase.borrow();
    ask.cancel();
    // A terminal that goes away may send more than one.
    signals.hangup = None;
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
    /// The terminal has gone away; none if the parent process ignored the signal, as `nohup` does.
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

/// Whether the parent process had SIGHUP ignored. Where the system doesn't tell, it is taken as
/// not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1: the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
