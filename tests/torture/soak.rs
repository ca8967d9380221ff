//! Everything at once, for as long as one likes: `RELAY_SOAK=10m cargo test --release --features
//! delivery --test torture -- --nocapture soak`. Nothing may be lost, and nothing may grow.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::images::{Disk, Luck, parse};
use crate::judge::Journal;
use crate::load::Address;
use crate::shim::{DATABASE, ENOSPC, WAL};
use crate::support::{Answer, Client, KEY, Reply, document, until};
use crate::world::World;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
const MIB: f64 = 1_048_576.0;

/// The part of the time in which the process is killed and stopped, too. The rest is one life.
const RESTARTS: f64 = 0.45;
/// The part after which that life has warmed up, and is measured.
const MEASURED: f64 = 0.5;

/// What the process held at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Duration,
    process: u32,
    rss_mib: f64,
    descriptors: f64,
    threads: f64,
    wal_mib: f64,
    database_mib: f64,
    acknowledged: usize,
    delivered: usize,
}

type Measure = (&'static str, fn(&Sample) -> f64);

const MEASURES: [Measure; 5] = [
    ("RSS MiB", |sample| sample.rss_mib),
    ("descriptors", |sample| sample.descriptors),
    ("threads", |sample| sample.threads),
    ("WAL MiB", |sample| sample.wal_mib),
    ("database MiB", |sample| sample.database_mib),
];

/// `30s`, `10m` or `2h`.
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

/// A system's number of a process; none when it has just ended.
fn of_process(process: u32) -> Option<(f64, f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let number = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let descriptors = u32::try_from(descriptors.count()).ok()?;
    Some((
        number("VmRSS:")? / 1024.0,
        f64::from(descriptors),
        number("Threads:")?,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files are far below")]
fn mib(path: &Path) -> f64 {
    path.metadata()
        .map_or(0.0, |metadata| metadata.len() as f64 / MIB)
}

/// A world that is watched while it lives.
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
}

impl Soak {
    /// Lets time pass, and looks at the process meanwhile.
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
        // What arrived is in the journal; whole requests would fill the memory.
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
            delivered: self.world.journal.taken(),
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
                // A process that started in another year would be right to believe it; so would one after
                // a process that didn't live to see the clock set right: it looks at each commit, and
                // each second.
                self.world.shim.wall_offset(0);
                self.wait(Duration::from_millis(1_100));
            }
            Fault::Refusal => {
                self.refuses.store(true, Ordering::Relaxed);
                let time = self.some_time(200..1_000);
                self.wait(time);
                self.refuses.store(false, Ordering::Relaxed);
            }
        }
    }

    /// One fault after the other, each kind as often as the others, until then.
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

/// Readers at work: pages of relays, and single events.
struct Readers {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(address: &Address, journal: &Arc<Journal>, many: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let threads = (0..many)
            .map(|_| {
                let (address, journal) = (Arc::clone(address), Arc::clone(journal));
                let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                std::thread::spawn(move || {
                    let mut token: Option<String> = None;
                    while !stop.load(Ordering::Relaxed) {
                        let mut path = "/v1/relays?pageSize=50".to_owned();
                        if let Some(token) = token.take() {
                            write!(path, "&pageToken={token}").expect("a String takes all");
                        }
                        if let Some(page) = read(&address, &path) {
                            answers.fetch_add(1, Ordering::Relaxed);
                            if page.status == 200 {
                                let next = page.json()["nextPageToken"].as_str().map(str::to_owned);
                                token = next;
                            }
                        }
                        if let Some(id) = journal.latest_event()
                            && read(&address, &format!("/events/{id}")).is_some()
                        {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        crate::pause(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        Self {
            stop,
            answers,
            threads,
        }
    }

    /// How many answers there were.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.threads {
            reader.join().expect("a reader saw nothing unexpected");
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// An answer, if there is a whole one: a long one may be cut short by a kill.
fn read(address: &Address, path: &str) -> Option<Reply> {
    let address = (*address.lock().expect("nobody panics holding this"))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nX-API-Key: {KEY}\r\n\r\n"
    );
    let reply = Client::of(address).try_raw(request.as_bytes())?;
    let length: usize = reply.header("content-length")?.parse().ok()?;
    if reply.body.len() < length {
        return None;
    }
    document::check("GET", path, &reply);
    // What was delivered is deleted before long.
    assert!(
        matches!(reply.status, 200 | 404 | 503),
        "{path}: {}",
        reply.text()
    );
    Some(reply)
}

/// The least squares' slope, in units per hour.
fn slope(samples: &[Sample], measure: fn(&Sample) -> f64) -> f64 {
    let hours = |sample: &Sample| sample.at.as_secs_f64() / 3_600.0;
    let count = samples.iter().map(|_| 1.0).sum::<f64>();
    let mean_x = samples.iter().map(hours).sum::<f64>() / count;
    let mean_y = samples.iter().map(measure).sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        let x = hours(sample) - mean_x;
        above += x * (measure(sample) - mean_y);
        below += x * x;
    }
    above / below
}

/// By how much a measure is higher in the last fifth than in the first: medians, so that a moment
/// makes no difference.
fn growth(samples: &[Sample], measure: fn(&Sample) -> f64) -> f64 {
    let fifth = (samples.len() / 5).max(1);
    let median = |samples: &[Sample]| {
        let mut values: Vec<f64> = samples.iter().map(measure).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    median(&samples[samples.len() - fifth..]) - median(&samples[..fifth])
}

/// What has grown that shouldn't have.
fn grown(all: &[Sample], last_life: &[Sample]) -> Vec<String> {
    let mut grown = Vec::new();
    // Connections come and go, one to a worker and three to a reader; and threads that block.
    for (measure, most) in [(0, 16.0), (1, 24.0), (2, 12.0)] {
        let (name, measure) = MEASURES[measure];
        let more = growth(last_life, measure);
        if more > most {
            grown.push(format!(
                "{more:.1} more {name}, and at most {most} are well"
            ));
        }
    }
    // `journal_size_limit`, and what a transaction adds before the next checkpoint.
    let wal = all.iter().map(|sample| sample.wal_mib).fold(0.0, f64::max);
    if wal > 64.0 + 16.0 {
        grown.push(format!("a WAL of {wal:.1} MiB"));
    }
    // Retention sweeps once a minute: with a few sweeps in each half, the second is like the first.
    let time = match last_life {
        [first, .., last] => last.at.saturating_sub(first.at),
        _ => Duration::ZERO,
    };
    if time >= Duration::from_secs(300) {
        let (first, second) = last_life.split_at(last_life.len() / 2);
        let largest = |samples: &[Sample]| {
            let sizes = samples.iter().map(|sample| sample.database_mib);
            sizes.fold(0.0, f64::max)
        };
        let (first, second) = (largest(first), largest(second));
        if second > 1.25 * first + 4.0 {
            grown.push(format!(
                "a database of {first:.1} MiB, and then {second:.1} MiB"
            ));
        }
    }
    grown
}

fn print(samples: &[Sample], last_life: &[Sample]) {
    println!(
        "   time  process  RSS MiB  fds  threads  WAL MiB  database MiB  acknowledged  delivered"
    );
    for sample in samples.iter().step_by(samples.len().div_ceil(20).max(1)) {
        println!(
            "{:6.1}s  {:7}  {:7.1}  {:3}  {:7}  {:7.2}  {:12.2}  {:12}  {:9}",
            sample.at.as_secs_f64(),
            sample.process,
            sample.rss_mib,
            sample.descriptors,
            sample.threads,
            sample.wal_mib,
            sample.database_mib,
            sample.acknowledged,
            sample.delivered
        );
    }
    for (name, measure) in MEASURES {
        println!(
            "{name}: {:+.1} an hour, {:+.2} from the first fifth to the last of {} samples",
            slope(last_life, measure),
            growth(last_life, measure),
            last_life.len()
        );
    }
}

fn keep(samples: &[Sample]) -> std::path::PathBuf {
    let mut text =
        "seconds,process,rss_mib,descriptors,threads,wal_mib,database_mib,acknowledged,delivered\n"
            .to_owned();
    for sample in samples {
        writeln!(
            text,
            "{:.3},{},{:.3},{},{},{:.3},{:.3},{},{}",
            sample.at.as_secs_f64(),
            sample.process,
            sample.rss_mib,
            sample.descriptors,
            sample.threads,
            sample.wal_mib,
            sample.database_mib,
            sample.acknowledged,
            sample.delivered
        )
        .expect("a String takes all");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    std::fs::write(&path, text).expect("room for a table");
    path
}

/// The journal takes some 400 bytes an event, in this process: a tenth of a gigabyte in a quarter of
/// an hour.
#[test]
fn under_all_faults_at_once_nothing_is_lost_and_nothing_grows() {
    use Fault::{Clock, FullDisk, Kill, Refusal, Stop};

    let _alone = crate::alone();
    let seed = crate::seed();
    let time = match std::env::var("RELAY_SOAK") {
        Ok(text) => time(&text).expect("RELAY_SOAK is a time such as 30s, 10m or 2h"),
        Err(_) => Duration::from_secs(crate::choose(12, 240)),
    };
    let is_short = time < Duration::from_secs(60);
    // Longer than anybody sends the same again for.
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
        // A twentieth fails at first, another is slow.
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
    let all = [Kill, Stop, FullDisk, Clock, Refusal];
    let mut faults = soak.faults(&all, time.mul_f64(RESTARTS), rests.clone());
    // The last life begins.
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
    // A start sweeps at once: most of it is old enough by now.
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
    let verdict = world.journal.assert_just_pruned("soak", &world.database());
    println!("soak: {time:?}, {faults} faults, {answers} pages and events read");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(
        verdict.delivered < verdict.acknowledged / 2,
        "most of it should have been deleted: {verdict}"
    );
    assert!(answers > 0 && verdict.acknowledged > 0);
    assert_eq!(grown(&samples, &last_life), Vec::<String>::new());
}

/// The newest event is deleted with the others, once it is old. That the lock file marks it must not
/// keep the next start from serving what is left, wherever a kill or a power failure falls.
#[test]
fn a_start_does_not_miss_what_retention_has_deleted() {
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

    // By now all of it is on the disk, the mark too.
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
        // All that was written: a kill. Nothing that wasn't synced: a power failure.
        for luck in [Luck::All, Luck::None] {
            let mut next = World::new();
            disk.write_to(&next.data(), luck, &mut random);
            if let Err(ended) = next.try_start() {
                wrong.push((done, luck, ended.log));
            }
        }
    }
    println!(
        "retention: {} operations, {} bad starts",
        ops.len(),
        wrong.len()
    );
    if let Some((done, luck, log)) = wrong.first() {
        panic!(
            "{} starts; after operation {done}, {luck:?}: {log}",
            wrong.len()
        );
    }
}

#[test]
fn a_time_has_a_unit() {
    assert_eq!(time("30s"), Some(Duration::from_secs(30)));
    assert_eq!(time("10m"), Some(Duration::from_secs(600)));
    assert_eq!(time("2h"), Some(Duration::from_secs(7_200)));
    for wrong in ["", "s", "10", "10d", "-1s", "1ms", "ü"] {
        assert_eq!(time(wrong), None, "{wrong}");
    }
}

#[test]
fn what_grows_would_be_seen() {
    let samples = |change: fn(f64, &mut Sample)| -> Vec<Sample> {
        (0..600_u32)
            .map(|second| {
                let mut sample = Sample {
                    at: Duration::from_secs(second.into()),
                    rss_mib: 40.0 + f64::from(second % 7),
                    descriptors: f64::from(30 + second % 5),
                    threads: f64::from(40 + second % 3),
                    wal_mib: 4.0,
                    database_mib: 20.0 + f64::from(second % 60) / 4.0,
                    ..Sample::default()
                };
                change(f64::from(second), &mut sample);
                sample
            })
            .collect()
    };
    let looked = |change| {
        let samples = samples(change);
        grown(&samples, &samples).join("; ")
    };
    assert_eq!(looked(|_, _| {}), "");
    // A moment makes no difference.
    assert_eq!(
        looked(|at, sample| sample.rss_mib += f64::from(at > 598.5) * 100.0),
        ""
    );
    assert!(looked(|at, sample| sample.rss_mib += at / 20.0).contains("more RSS"));
    assert!(looked(|at, sample| sample.descriptors += at / 10.0).contains("more descriptors"));
    assert!(looked(|at, sample| sample.threads += at / 20.0).contains("more threads"));
    assert!(looked(|at, sample| sample.wal_mib += f64::from(at < 0.5) * 90.0).contains("WAL"));
    assert!(looked(|at, sample| sample.database_mib += at / 10.0).contains("database"));

    let steady = samples(|at, sample| sample.rss_mib = 5.0 + at / 3_600.0);
    let found = slope(&steady, |sample| sample.rss_mib);
    assert!((found - 1.0).abs() < 1e-6, "{found}");
}
