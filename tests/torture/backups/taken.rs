//! Backups taken under load and faults. Each one is restored, judged by its moment, held, and then
//! let go.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::backups::{assert_done, run, standing};
use crate::judge::{Verdict, number, states};
use crate::shim::{DATABASE, ENOSPC, Shim, WAL};
use crate::support::Answer;
use crate::world::{World, send};

/// Backups of a load: the database, and with it each copy, stays small.
const OF_A_LOAD: usize = 10;
/// Deliveries of one event in so many fail, so that each copy has some that wait.
const FAILING: u64 = 5;
/// The number of the first event that a held relay accepts.
const WHILE_HELD: u64 = 700_000_000_000;

/// An event in the life of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Nothing,
    /// Killed right after one of its operations on the file.
    KilledAtAStep,
    KilledAtAMoment,
    /// No room for the file from one of its operations on.
    FullDisk,
    /// Stopped for a while (SIGSTOP), with its snapshot open.
    Paused,
    ServerKilled,
    ServerPaused,
    /// No room for the server's files for a while.
    ServerFullDisk,
}

const FAULTS: [Fault; 8] = [
    Fault::Nothing,
    Fault::KilledAtAStep,
    Fault::ServerKilled,
    Fault::FullDisk,
    Fault::Paused,
    Fault::ServerPaused,
    Fault::KilledAtAMoment,
    Fault::ServerFullDisk,
];

/// A whole backup, and the time in which it was made.
struct Copy {
    path: PathBuf,
    begun: Duration,
    ended: Duration,
    fault: Fault,
}

/// The backups of one load.
struct Scene {
    world: World,
    /// Of the process that makes a backup.
    shim: Shim,
    random: StdRng,
    /// Backups that were begun.
    begun: usize,
    /// Operations on the file of a backup without a fault.
    steps: u64,
    copies: Vec<Copy>,
    next_held: u64,
}

/// Whole and absent backups by fault, and the judge's sums.
#[derive(Default)]
struct Tally {
    by_fault: BTreeMap<Fault, (usize, usize)>,
    judged: usize,
    acknowledged: usize,
    pending: usize,
    dead: usize,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        world.more.push_str("breaker = { enabled = false }\n");
        world.pace = Duration::from_millis(20);
        world.answers(|arrival| {
            let fails = number(&arrival.body).is_some_and(|n| n % FAILING == 0);
            Answer::status(if fails { 503 } else { 200 })
        });
        std::fs::create_dir(world.directory.path().join("copies")).expect("a directory");
        Self {
            world,
            shim: Shim::new(),
            random: StdRng::seed_from_u64(seed),
            begun: 0,
            steps: 60,
            copies: Vec::new(),
            next_held: WHILE_HELD,
        }
    }

    fn wait(&mut self, millis: std::ops::Range<u64>) {
        crate::pause(Duration::from_millis(self.random.random_range(millis)));
    }

    /// The command that makes a backup, under a shim of its own.
    fn command(&self, name: &str) -> Command {
        let mut command = self.world.command();
        self.shim.forget_log();
        let copies = self.world.directory.path().join("copies");
        self.shim.load(&mut command, &copies, true);
        command.args(["backup", name]).stdout(Stdio::null());
        command
    }

    /// Makes a backup under a fault.
    fn back_up(&mut self, fault: Fault, tally: &mut Tally) {
        let name = format!("copies/{}.db", self.begun);
        self.begun += 1;
        let path = self.world.directory.path().join(&name);
        let begun = self.world.journal.now();
        let output = self.under(fault, &name);
        let ended = self.world.journal.now();
        self.shim.heal();
        let is_made = output.status.success();
        let text = String::from_utf8_lossy(&output.stderr);
        // A process that was killed leaves what it had, under another name.
        let is_killed = output.status.code().is_none();
        let partial = path.with_extension("db.partial");
        assert!(is_killed || !partial.exists(), "{fault:?}: {text}");
        assert!(path.exists() || !is_made, "{fault:?}: {text}");
        let counts = tally.by_fault.entry(fault).or_default();
        if !path.exists() {
            counts.1 += 1;
            let is_expected = is_killed || fault == Fault::FullDisk && text.contains("full");
            assert!(is_expected, "{fault:?}: {text}");
            return;
        }
        counts.0 += 1;
        assert_done(&run(&self.world, false, &["verify", &name]));
        self.copies.push(Copy {
            path,
            begun,
            ended,
            fault,
        });
    }

    fn under(&mut self, fault: Fault, name: &str) -> Output {
        let step = self.random.random_range(1..=self.steps);
        let mut command = self.command(name);
        match fault {
            Fault::KilledAtAStep => self.shim.kill_at_record(step),
            Fault::FullDisk => {
                self.shim.let_through(step - 1);
                self.shim.fail_writes(ENOSPC, DATABASE, true);
            }
            _ => {}
        }
        let mut child = command.spawn().expect("the binary starts");
        match fault {
            Fault::Nothing | Fault::KilledAtAStep | Fault::FullDisk => {}
            Fault::KilledAtAMoment => {
                self.wait(1..150);
                // It may have ended.
                let _ = child.kill();
            }
            Fault::Paused => {
                self.wait(1..100);
                send("-STOP", child.id());
                self.wait(100..300);
                send("-CONT", child.id());
            }
            Fault::ServerKilled => {
                self.wait(1..100);
                self.world.kill();
                let output = ended(child);
                self.world.start();
                return output;
            }
            Fault::ServerPaused => {
                self.wait(1..100);
                self.world.signal("-STOP");
                self.wait(100..300);
                // Answers that came meanwhile may count as timeouts.
                self.world.journal.fault();
                self.world.signal("-CONT");
            }
            Fault::ServerFullDisk => {
                self.world.journal.fault();
                let files = WAL | DATABASE;
                self.world.shim.fail_writes(ENOSPC, files, true);
                self.wait(100..300);
                self.world.journal.fault();
                self.world.shim.heal();
            }
        }
        let output = ended(child);
        if fault == Fault::Nothing {
            self.steps = self.shim.records();
        }
        output
    }

    /// Restores a backup, judges it, and sees what is sent: nothing while it is held, and then what
    /// waits in it.
    fn restore(&mut self, copy: &Copy) -> Verdict {
        let world = &mut self.world;
        let name = copy.path.to_str().expect("text");
        assert_done(&run(world, false, &["restore", name]));
        let in_copy = states(&world.database());
        let arrivals = world.journal.hits().len();
        world.start();
        assert_eq!(standing(world), Some(true), "it is held");
        let accepted = self.next_held;
        self.next_held += 1;
        let body = format!("{{\"n\":{accepted}}}");
        let sent = world.target().try_once(accepted, true, &body);
        assert!(sent.id.is_some(), "a held relay accepts events");
        world.journal.sent(sent);
        crate::pause(Duration::from_millis(100));
        assert!(world.stop().status.success());
        assert_eq!(world.journal.hits().len(), arrivals, "sent while held");
        let (begun, ended) = (copy.begun, copy.ended);
        let verdict = world.journal.judge_copy(&world.database(), begun, ended);
        assert!(verdict.wrong.is_empty(), "{:?}: {verdict:#?}", copy.fault);

        assert_done(&run(world, false, &["resume", "--all"]));
        world.start();
        world.drain();
        assert!(world.stop().status.success());
        let later = world.journal.hits().split_off(arrivals);
        let later: HashSet<u64> = later.iter().filter_map(|hit| hit.n).collect();
        assert!(later.contains(&accepted), "accepted while held");
        for (n, state) in in_copy {
            assert_eq!(later.contains(&n), state < 3, "{n} is {state} in the copy");
        }
        self.remove_replaced();
        verdict
    }

    /// Removes the databases that restores have replaced.
    fn remove_replaced(&self) {
        let entries = std::fs::read_dir(self.world.data()).expect("a directory");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.to_string_lossy().contains(".before-") {
                std::fs::remove_file(path).expect("it is there");
            }
        }
    }

    /// Takes the backups of a load, until there are enough; then restores each.
    fn run(mut self, seed: u64, enough: usize, tally: &mut Tally) {
        self.world.start();
        let load = self.world.load(seed, 4, 2_000);
        while self.copies.len() < enough || self.begun < FAULTS.len() {
            let before = self.world.journal.acknowledged();
            self.world.acknowledged(before + 30);
            let fault = FAULTS[self.begun % FAULTS.len()];
            self.back_up(fault, tally);
        }
        load.stop();
        self.world.drain();
        assert!(self.world.stop().status.success());
        let database = self.world.database();
        let journal = &self.world.journal;
        journal.assert_no_violations("beside backups", &database);
        self.world.answers(|_| Answer::status(200));
        for copy in std::mem::take(&mut self.copies) {
            let verdict = self.restore(&copy);
            tally.judged += 1;
            tally.acknowledged += verdict.acknowledged;
            tally.pending += verdict.pending;
            tally.dead += verdict.dead;
        }
    }
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("a child")
}

#[test]
fn each_backup_under_load_and_faults_is_restored_whole_and_sends_nothing_while_held() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let enough = crate::choose(5, 100);
    let mut tally = Tally::default();
    for load in 0.. {
        if tally.judged >= enough {
            break;
        }
        let seed = seed.wrapping_add(load);
        let some = OF_A_LOAD.min(enough - tally.judged);
        Scene::new(seed).run(seed, some, &mut tally);
    }
    for (fault, (whole, absent)) in &tally.by_fault {
        println!("{fault:?}: {whole} whole, {absent} absent");
    }
    println!(
        "backups: {} restored and judged, {} acknowledged before them, 0 lost, 0 sent while held; \
         {} pending in them, {} dead",
        tally.judged, tally.acknowledged, tally.pending, tally.dead
    );
    assert_eq!(tally.by_fault.len(), FAULTS.len());
    assert!(tally.acknowledged > 0 && tally.pending > 0);
    let of = |fault: Fault| tally.by_fault[&fault];
    for fault in [Fault::Nothing, Fault::Paused, Fault::ServerKilled] {
        assert_eq!(of(fault).1, 0, "{fault:?}");
    }
    let killed = [Fault::KilledAtAStep, Fault::FullDisk].map(|fault| of(fault).1);
    assert!(killed.iter().sum::<usize>() > 0, "no fault took effect");
}
