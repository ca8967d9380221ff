//! All faults at once, for a chosen time: `RELAY_SOAK=10m cargo test --release --features delivery
//! --test torture -- --nocapture soak`. Nothing may be lost, and no resource may grow.

mod readers;
mod samples;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::images::{Disk, Survival, parse};
use crate::shim::{DATABASE, ENOSPC, WAL};
use crate::soak::readers::Readers;
use crate::soak::samples::{Sample, grown, keep, mib, of_process, print};
use crate::support::{Answer, until};
use crate::world::World;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// The part of the time in which the process is killed and stopped, too. In the rest it runs
/// through.
const RESTARTS: f64 = 0.45;
/// The part after which that last process has warmed up, and is measured.
const MEASURED: f64 = 0.5;

/// Parses `30s`, `10m` or `2h`.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// A world with samples of its process.
struct Soak {
    world: World,
    random: StdRng,
    begun: Instant,
    every: Duration,
    next: Duration,
    samples: Vec<Sample>,
    refuses: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Kill,
    Stop,
    FullDisk,
    Clock,
    Refusal,
    Reloads,
}

impl Soak {
    /// Waits, and samples the process meanwhile.
    fn wait(&mut self, time: Duration) {
        let end = self.begun.elapsed() + time;
        loop {
            let now = self.begun.elapsed();
            if now >= self.next {
                self.next = now + self.every;
                self.sample(now);
            }
            if now >= end {
                return;
            }
            crate::pause(end.min(self.next).saturating_sub(now));
        }
    }

    fn sample(&mut self, at: Duration) {
        // The journal has the arrivals; whole requests would fill the memory.
        while self.world.receiver.next_within(Duration::ZERO).is_some() {}
        let process = self.world.process();
        let Some((rss_mib, descriptors, threads)) = of_process(process) else {
            return;
        };
        let database = self.world.database();
        self.samples.push(Sample {
            at,
            process,
            rss_mib,
            descriptors,
            threads,
            wal_mib: mib(&database.with_extension("db-wal")),
            database_mib: mib(&database),
            acknowledged: self.world.journal.acknowledged(),
            delivered: self.world.journal.accepted(),
        });
    }

    fn some_time(&mut self, millis: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(millis))
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                self.world.kill();
                self.world.start();
            }
            Fault::Stop => {
                let ended = self.world.stop();
                assert!(ended.status.success(), "{}", ended.log);
                self.world.start();
            }
            Fault::FullDisk => {
                self.world.journal.fault();
                self.world.shim.fail_writes(ENOSPC, WAL | DATABASE, true);
                let time = self.some_time(300..1_000);
                self.wait(time);
                self.world.journal.fault();
                self.world.shim.heal();
            }
            Fault::Clock => {
                let hours = [2 * HOUR, -2 * HOUR, 10 * YEAR, -10 * YEAR];
                let offset = hours[self.random.random_range(0..hours.len())];
                self.world.shim.wall_offset(offset);
                let time = self.some_time(200..800);
                self.wait(time);
                // A process that starts in another year takes that for the time; so does one whose
                // predecessor ended before it saw the clock set right, for which it looks at each
                // commit and each second.
                self.world.shim.wall_offset(0);
                self.wait(Duration::from_millis(1_100));
            }
            Fault::Refusal => {
                self.refuses.store(true, Ordering::Relaxed);
                let time = self.some_time(200..1_000);
                self.wait(time);
                self.refuses.store(false, Ordering::Relaxed);
            }
            Fault::Reloads => self.reloads(),
        }
    }

    /// Asks for reloads in quick succession, of a file that changes meanwhile: a source and a
    /// destination come and go, and the settings of the destination of all events change.
    fn reloads(&mut self) {
        let path = self.world.directory.path().join("relay.toml");
        let file = std::fs::read_to_string(&path).expect("a file");
        for round in 0..20 {
            let other = "[destinations.other]\nurl = \"http://127.0.0.1:9/\"\n\
                         [sources.other]\ndestinations = [\"other\"]\n";
            let text = if round % 2 == 0 {
                format!(
                    "{other}{}",
                    file.replace("probe_cap = \"1s\"", "probe_cap = \"900ms\"")
                )
            } else {
                file.clone()
            };
            let next = path.with_extension("next");
            std::fs::write(&next, text).expect("writing");
            std::fs::rename(&next, &path).expect("renaming");
            self.world.signal("-HUP");
            let time = self.some_time(5..60);
            self.wait(time);
        }
    }

    /// Injects one fault after the other until `until`, each kind equally often.
    fn faults(&mut self, kinds: &[Fault], until: Duration, rests: std::ops::Range<u64>) -> usize {
        let mut faults = 0;
        loop {
            let mut kinds = kinds.to_vec();
            kinds.shuffle(&mut self.random);
            for kind in kinds {
                let rest = self.some_time(rests.clone());
                let left = until.saturating_sub(self.begun.elapsed());
                if left <= rest {
                    self.wait(left);
                    return faults;
                }
                self.wait(rest);
                self.fault(kind);
                faults += 1;
            }
        }
    }
}

/// The journal takes some 400 bytes an event in this process: a tenth of a gigabyte in a quarter of
/// an hour.
#[test]
fn under_all_faults_at_once_nothing_is_lost_and_no_resource_grows() {
    use Fault::{Clock, FullDisk, Kill, Refusal, Reloads, Stop};

    let _alone = crate::alone();
    let seed = crate::seed();
    let time = match std::env::var("RELAY_SOAK") {
        Ok(text) => time(&text).expect("RELAY_SOAK is a time such as 30s, 10m or 2h"),
        Err(_) => Duration::from_secs(crate::choose(12, 240)),
    };
    let is_short = time < Duration::from_secs(60);
    // Longer than a client repeats a request.
    let kept = if is_short { 4 } else { 20 };
    let rests = if is_short { 200..600 } else { 1_000..5_000 };

    let mut world = World::new();
    world.environment = vec![("RELAY_IDEMPOTENCY_TTL_SECONDS", kept.to_string())];
    world.more = format!(
        "breaker = {{ probe_after = \"500ms\", probe_cap = \"1s\" }}
[retention]
delivered = \"{kept}s\"
dead_lettered = \"forever\"
"
    );
    world.pace = Duration::from_millis(15);
    let refuses = Arc::new(AtomicBool::new(false));
    let is_refusing = Arc::clone(&refuses);
    world.answers(move |arrival| {
        if is_refusing.load(Ordering::Relaxed) {
            return Answer::status(503).header("Retry-After", "1");
        }
        // A twentieth of the attempts fail at first, another twentieth are slow.
        let fails = arrival.header("relay-attempt") == "1" && arrival.body.len() % 20 == 7;
        let slow = Duration::from_millis(if arrival.body.len() % 20 == 11 {
            300
        } else {
            0
        });
        Answer::status(if fails { 500 } else { 200 }).after(slow)
    });
    world.start();
    let load = world.load(seed, 6, 1_000);
    let target = world.target();
    let readers = Readers::start(&target.address, &target.journal, 2);
    let mut soak = Soak {
        world,
        random: StdRng::seed_from_u64(seed),
        begun: Instant::now(),
        every: Duration::from_millis(if is_short { 250 } else { 1_000 }),
        next: Duration::ZERO,
        samples: Vec::new(),
        refuses,
    };
    let all = [Kill, Stop, FullDisk, Clock, Refusal, Reloads];
    let mut faults = soak.faults(&all, time.mul_f64(RESTARTS), rests.clone());
    // The last process starts.
    soak.fault(Kill);
    let last = soak.world.process();
    faults += 1 + soak.faults(&all[2..], time, rests);
    let answers = readers.stop();
    load.stop();
    let Soak {
        mut world, samples, ..
    } = soak;
    assert_eq!(world.process(), last);
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    // A start sweeps at once: most events are old enough by now.
    crate::pause(Duration::from_secs(if is_short { kept } else { 1 }));
    world.start();
    crate::pause(Duration::from_secs(2));
    world.stop();

    let last_life: Vec<Sample> = samples
        .iter()
        .filter(|sample| sample.process == last && sample.at >= time.mul_f64(MEASURED))
        .copied()
        .collect();
    print(&samples, &last_life);
    println!("all of it is in {}", keep(&samples).display());
    let verdict = world
        .journal
        .assert_no_violations_pruned("soak", &world.database());
    println!("soak: {time:?}, {faults} faults, {answers} pages and events read");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(
        verdict.delivered < verdict.acknowledged / 2,
        "most of it should have been deleted: {verdict}"
    );
    assert!(answers > 0 && verdict.acknowledged > 0);
    assert_eq!(grown(&samples, &last_life), Vec::<String>::new());
}

/// The newest event is deleted with the others when it is old. The lock file's mark of it must not
/// stop the next start, at whatever moment a kill or a power failure comes.
#[test]
fn a_start_accepts_that_retention_deleted_the_newest_event() {
    let _alone = crate::alone();
    let mut random = StdRng::seed_from_u64(crate::seed());
    let mut world = World::new();
    world.environment = vec![("RELAY_IDEMPOTENCY_TTL_SECONDS", "1".to_owned())];
    world.more = "[retention]\ndelivered = \"1s\"\n".to_owned();
    world.start();
    assert_eq!(world.client().hook("only", b"{}").status, 202);
    world.drain();
    world.kill();
    crate::pause(Duration::from_millis(1_500));

    // By now everything is on the disk, the mark too.
    let files = ["relay.db", "relay.db-wal", "relay.db.lock"].map(|name| {
        let bytes = std::fs::read(world.data().join(name)).expect("a file");
        (name.to_owned(), bytes)
    });
    world.records = true;
    world.start();
    let sql = rusqlite::Connection::open(world.database()).expect("the database opens");
    until("retention has deleted it", || {
        let count = "SELECT count(*) FROM intents";
        let left: i64 = sql.query_row(count, [], |row| row.get(0)).expect("a count");
        (left == 0).then_some(())
    });
    crate::pause(Duration::from_millis(200));
    world.kill();
    let ops = parse(&world.shim.log());

    let mut disk = Disk::holding(files.into(), &ops);
    let mut wrong = Vec::new();
    for done in 0..=ops.len() {
        if done > 0 {
            disk.apply(&ops[done - 1]);
        }
        // With all that was written: a kill. Without all that wasn't synced: a power failure.
        for survival in [Survival::All, Survival::None] {
            let mut next = World::new();
            disk.write_to(&next.data(), survival, &mut random);
            if let Err(ended) = next.try_start() {
                wrong.push((done, survival, ended.log));
            }
        }
    }
    println!(
        "retention: {} operations, {} bad starts",
        ops.len(),
        wrong.len()
    );
    if let Some((done, survival, log)) = wrong.first() {
        panic!(
            "{} starts; after operation {done}, {survival:?}: {log}",
            wrong.len()
        );
    }
}

#[test]
fn a_time_needs_a_unit() {
    assert_eq!(time("30s"), Some(Duration::from_secs(30)));
    assert_eq!(time("10m"), Some(Duration::from_secs(600)));
    assert_eq!(time("2h"), Some(Duration::from_secs(7_200)));
    for wrong in ["", "s", "10", "10d", "-1s", "1ms", "ü"] {
        assert_eq!(time(wrong), None, "{wrong}");
    }
}
