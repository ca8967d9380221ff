//! Samples of the resources of a process, and the limits of their growth.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

pub const MIB: f64 = 1_048_576.0;

/// The resources of the process at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub at: Duration,
    pub process: u32,
    pub rss_mib: f64,
    pub descriptors: f64,
    pub threads: f64,
    pub wal_mib: f64,
    pub database_mib: f64,
    pub acknowledged: usize,
    pub delivered: usize,
}

pub type Measure = (&'static str, fn(&Sample) -> f64);

pub const MEASURES: [Measure; 5] = [
    ("RSS MiB", |sample| sample.rss_mib),
    ("descriptors", |sample| sample.descriptors),
    ("threads", |sample| sample.threads),
    ("WAL MiB", |sample| sample.wal_mib),
    ("database MiB", |sample| sample.database_mib),
];

/// Resident MiB, open descriptors, and threads of a process; none when it has just ended.
pub fn of_process(process: u32) -> Option<(f64, f64, f64)> {
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
pub fn mib(path: &Path) -> f64 {
    path.metadata()
        .map_or(0.0, |metadata| metadata.len() as f64 / MIB)
}

/// The slope of the least squares, in units per hour.
pub fn slope(samples: &[Sample], measure: fn(&Sample) -> f64) -> f64 {
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

/// The difference between the medians of a measure's last and first fifths. Medians ignore a single
/// outlier.
pub fn growth(samples: &[Sample], measure: fn(&Sample) -> f64) -> f64 {
    let fifth = (samples.len() / 5).max(1);
    let median = |samples: &[Sample]| {
        let mut values: Vec<f64> = samples.iter().map(measure).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    median(&samples[samples.len() - fifth..]) - median(&samples[..fifth])
}

/// The measures that grew beyond their limit.
pub fn grown(all: &[Sample], last_life: &[Sample]) -> Vec<String> {
    let mut grown = Vec::new();
    // Connections vary, one for a worker and three for a reader; so do blocking threads.
    for (measure, most) in [(0, 16.0), (1, 24.0), (2, 12.0)] {
        let (name, measure) = MEASURES[measure];
        let more = growth(last_life, measure);
        if more > most {
            grown.push(format!(
                "{more:.1} more {name}, and at most {most} are well"
            ));
        }
    }
    // `journal_size_limit`, and the frames of a transaction before the next checkpoint.
    let wal = all.iter().map(|sample| sample.wal_mib).fold(0.0, f64::max);
    if wal > 64.0 + 16.0 {
        grown.push(format!("a WAL of {wal:.1} MiB"));
    }
    // Retention sweeps once a minute: with a few sweeps in each half, both halves are alike.
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

pub fn print(samples: &[Sample], last_life: &[Sample]) {
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

pub fn keep(samples: &[Sample]) -> std::path::PathBuf {
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

#[test]
fn growth_is_found() {
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
    // A single outlier makes no difference.
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
