//! The processor time and the switches of each thread, and the idle time of the processors, by the
//! files of Linux below `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The groups of threads, each with the beginning of their names; other threads are those of the
/// sink and of the load generator.
pub const GROUPS: [(&str, &str); 4] = [
    ("dispatcher", "relay-dispatche"),
    ("workers", "relay-worker"),
    ("writer", "relay-writer"),
    ("http", "relay-http"),
];
const ELSE: &str = "bench";

/// The counters of all threads at a time.
pub struct Snapshot {
    at: Instant,
    threads: HashMap<String, Thread>,
    processors: Processors,
}

#[derive(Clone, Default)]
struct Thread {
    name: String,
    nanos: f64,
    switches: f64,
}

/// Ticks of all processors since the boot.
#[derive(Clone, Copy)]
struct Processors {
    idle: f64,
    all: f64,
}

impl Snapshot {
    pub fn take() -> Self {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux");
        let threads = tasks.filter_map(|task| {
            let path = task.ok()?.path();
            let id = path.file_name()?.to_str()?.to_owned();
            // A thread may end meanwhile.
            let name = fs::read_to_string(path.join("comm")).ok()?;
            let times = fs::read_to_string(path.join("schedstat")).ok()?;
            let status = fs::read_to_string(path.join("status")).ok()?;
            let switches = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            let thread = Thread {
                name: name.trim_end().to_owned(),
                nanos: number(times.split(' ').next()?),
                switches: number(switches),
            };
            Some((id, thread))
        });
        Self {
            at: Instant::now(),
            threads: threads.collect(),
            processors: Processors::read(),
        }
    }

    /// The cost since an earlier time. Threads that have ended meanwhile are left out.
    pub fn since(&self, before: &Self) -> Cost {
        let mut groups: HashMap<&'static str, Group> = HashMap::new();
        for (id, thread) in &self.threads {
            let known = GROUPS
                .iter()
                .find(|(_, name)| thread.name.starts_with(name));
            let group = groups.entry(known.map_or(ELSE, |(group, _)| group));
            let earlier = before.threads.get(id).cloned().unwrap_or_default();
            let group = group.or_default();
            group.micros += (thread.nanos - earlier.nanos) / 1e3;
            group.switches += thread.switches - earlier.switches;
        }
        let processors = self.processors.all - before.processors.all;
        Cost {
            time: self.at - before.at,
            groups,
            idle: (self.processors.idle - before.processors.idle) / processors,
        }
    }
}

impl Processors {
    fn read() -> Self {
        /// The fields of the time without work: idle, and waiting for the disk.
        const IDLE: [usize; 2] = [3, 4];

        let stat = fs::read_to_string("/proc/stat").expect("Linux");
        let all = stat.lines().next().expect("the line of all processors");
        let ticks: Vec<f64> = all.split_whitespace().skip(1).map(number).collect();
        Self {
            idle: IDLE.iter().map(|&at| ticks[at]).sum(),
            // The fields after these repeat a part of them.
            all: ticks.iter().take(8).sum(),
        }
    }
}

fn number(text: &str) -> f64 {
    text.trim().parse().expect("a number")
}

/// The cost of a stretch of time.
pub struct Cost {
    pub time: Duration,
    groups: HashMap<&'static str, Group>,
    /// The part of the time in which the processors of this machine were idle.
    pub idle: f64,
}

#[derive(Clone, Copy, Default)]
struct Group {
    micros: f64,
    switches: f64,
}

impl Cost {
    /// Processor time of a group in microseconds.
    pub fn micros(&self, group: &str) -> f64 {
        self.groups.get(group).map_or(0.0, |group| group.micros)
    }

    /// Voluntary switches of a group: it waited, and was woken.
    pub fn switches(&self, group: &str) -> f64 {
        self.groups.get(group).map_or(0.0, |group| group.switches)
    }

    /// Processor time of all of relay's threads that have a group.
    pub fn relay_micros(&self) -> f64 {
        GROUPS.iter().map(|(group, _)| self.micros(group)).sum()
    }

    /// The same of the other threads.
    pub fn other_micros(&self) -> f64 {
        self.micros(ELSE)
    }

    /// The cost of each of `count` deliveries.
    pub fn json(&self, count: f64) -> Value {
        let mut each = json!({ "others_us": self.other_micros() / count });
        for (group, _) in GROUPS {
            each[format!("{group}_us")] = json!(self.micros(group) / count);
            each[format!("{group}_switches")] = json!(self.switches(group) / count);
        }
        each
    }
}
