//! The judge: compares the acknowledged requests with the arrivals and the database.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// A request of the load that was answered or given up.
#[derive(Clone, Debug)]
pub struct Sent {
    pub n: u64,
    pub key: String,
    pub body: [u8; 32],
    pub began: Duration,
    pub ended: Duration,
    /// None if there was no complete answer, so that the outcome is unknown.
    pub status: Option<u16>,
    /// The id of a 201 or 202.
    pub id: Option<String>,
    /// The number of the shim's records by then.
    pub records: u64,
}

/// A request that reached the receiver.
#[derive(Clone, Debug)]
pub struct Hit {
    pub n: Option<u64>,
    pub id: String,
    pub body: [u8; 32],
    pub at: Duration,
    pub answered: u16,
}

/// Everything that happened, with times of one clock.
#[derive(Debug)]
pub struct Journal {
    start: Instant,
    sent: Mutex<Vec<Sent>>,
    hits: Mutex<Vec<Hit>>,
    /// The times at which a process ended unexpectedly, or outcomes couldn't be recorded.
    faults: Mutex<Vec<Duration>>,
}

/// The judge's findings.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub delivered: usize,
    pub dead: usize,
    pub pending: usize,
    pub hits: usize,
    pub duplicates: usize,
    /// Violations, a sentence each. A test fails if there is any.
    pub wrong: Vec<String>,
}

/// The longest delay until a busy receiver sees a request, which may be after its sender has ended.
const LATE: Duration = Duration::from_millis(200);

pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The load's number, which begins each body.
pub fn number(body: &[u8]) -> Option<u64> {
    let text = body.strip_prefix(b"{\"n\":")?;
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that an event waits for its first arrival.
#[derive(Clone, Copy, Debug, Default)]
#[allow(dead_code, reason = "only nodes on PostgreSQL are judged by it")]
pub struct Wait {
    /// The event's number.
    pub n: u64,
    pub took: Duration,
    /// The longest part of it in which no node died.
    pub undisturbed: Duration,
}

impl Wait {
    fn of(n: u64, since: Duration, until: Duration, deaths: &[Duration]) -> Self {
        let mut undisturbed = Duration::ZERO;
        let mut from = since;
        let meanwhile = deaths.iter().filter(|at| (since..until).contains(*at));
        for at in meanwhile.chain([&until]) {
            undisturbed = undisturbed.max(at.saturating_sub(from));
            from = *at;
        }
        Self {
            n,
            took: until.saturating_sub(since),
            undisturbed,
        }
    }
}

impl Journal {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            sent: Mutex::default(),
            hits: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn sent(&self, sent: Sent) {
        locked(&self.sent).push(sent);
    }

    pub fn hit(&self, hit: Hit) {
        locked(&self.hits).push(hit);
    }

    /// Records that outcomes may be lost at this moment.
    pub fn fault(&self) {
        let now = self.now();
        locked(&self.faults).push(now);
    }

    /// The times at which outcomes may have been lost.
    #[allow(dead_code, reason = "only nodes on PostgreSQL are judged by it")]
    pub fn faults(&self) -> Vec<Duration> {
        locked(&self.faults).clone()
    }

    /// The event that waited longest from its acknowledgement to its first arrival without the
    /// death of a node. `deaths`: their times, in order. One that waits for a dead node, goes to
    /// its successor with a whole backlog, and back to a successor that dies as well, waits for
    /// two. One that never arrived is not among them.
    #[allow(dead_code, reason = "only nodes on PostgreSQL are judged by it")]
    pub fn longest_wait(&self, deaths: &[Duration]) -> Wait {
        let mut acknowledged: HashMap<u64, Duration> = HashMap::new();
        for sent in locked(&self.sent).iter().filter(|sent| sent.id.is_some()) {
            let first = acknowledged.entry(sent.n).or_insert(sent.ended);
            *first = sent.ended.min(*first);
        }
        let mut longest = Wait::default();
        // Arrivals are in their order: later ones of the same event find it gone.
        for hit in locked(&self.hits).iter() {
            if let Some(n) = hit.n
                && let Some(since) = acknowledged.remove(&n)
            {
                let wait = Wait::of(n, since, hit.at, deaths);
                if wait.undisturbed > longest.undisturbed {
                    longest = wait;
                }
            }
        }
        longest
    }

    pub fn acknowledged(&self) -> usize {
        let sent = locked(&self.sent);
        sent.iter().filter(|sent| sent.id.is_some()).count()
    }

    /// The requests that were acknowledged when the shim had `records` records.
    pub fn acknowledged_by(&self, records: u64) -> Vec<Sent> {
        let sent = locked(&self.sent);
        let known = |sent: &&Sent| sent.id.is_some() && sent.records <= records;
        sent.iter().filter(known).cloned().collect()
    }

    /// The number of requests that were refused.
    pub fn refused(&self) -> usize {
        let sent = locked(&self.sent);
        sent.iter().filter(|sent| sent.status == Some(503)).count()
    }

    /// The number of requests that the receiver accepted.
    pub fn accepted(&self) -> usize {
        let hits = locked(&self.hits);
        hits.iter().filter(|hit| hit.answered < 300).count()
    }

    /// The id of the event that arrived last.
    pub fn latest_event(&self) -> Option<String> {
        let hits = locked(&self.hits);
        let mut events = hits.iter().rev().filter(|hit| hit.id.starts_with("evt_"));
        events.next().map(|hit| hit.id.clone())
    }

    /// All arrivals, in their order.
    pub fn hits(&self) -> Vec<Hit> {
        locked(&self.hits).clone()
    }

    /// The ids and times of all arrivals.
    pub fn hit_times(&self) -> Vec<(String, Duration)> {
        let hits = locked(&self.hits);
        hits.iter().map(|hit| (hit.id.clone(), hit.at)).collect()
    }

    /// The digests of the bodies that were sent, by number.
    pub fn bodies(&self) -> HashMap<u64, [u8; 32]> {
        let sent = locked(&self.sent);
        sent.iter().map(|sent| (sent.n, sent.body)).collect()
    }

    /// Judges the run. The server must have ended.
    pub fn judge(&self, database: &Path) -> Verdict {
        self.judge_with(database, false)
    }

    /// As [`Journal::judge`], where delivered events may have been deleted: an acknowledged event
    /// must have arrived or be stored.
    pub fn judge_pruned(&self, database: &Path) -> Verdict {
        self.judge_with(database, true)
    }

    /// Judges a copy of the database that was made between two moments: it has all that was
    /// acknowledged before the first, nothing that nobody sent, and no delivery as made that hadn't
    /// been made by the second. All requests of the load must have ended.
    pub fn judge_copy(&self, database: &Path, begun: Duration, ended: Duration) -> Verdict {
        let sent = locked(&self.sent);
        let hits = locked(&self.hits);
        let bodies: HashMap<u64, [u8; 32]> = sent.iter().map(|sent| (sent.n, sent.body)).collect();
        let taken = hits
            .iter()
            .filter(|hit| hit.answered < 300 && hit.at <= ended);
        let taken: HashSet<u64> = taken.filter_map(|hit| hit.n).collect();
        let mut verdict = Verdict::default();
        let mut held = HashSet::new();
        for (body, state) in rows(database) {
            let Some(n) = number(&body).filter(|n| bodies.contains_key(n)) else {
                let wrong = "invented: the copy has an intent that nobody sent";
                verdict.wrong.push(wrong.to_owned());
                continue;
            };
            if bodies[&n] != digest(&body) {
                let wrong = format!("altered: the copy has {n} with another body");
                verdict.wrong.push(wrong);
            }
            if !held.insert(n) {
                verdict.wrong.push(format!("the copy has {n} twice"));
            }
            match state {
                3 => {
                    verdict.delivered += 1;
                    if !taken.contains(&n) {
                        let wrong =
                            format!("lost: {n} is delivered in the copy, and wasn't by then");
                        verdict.wrong.push(wrong);
                    }
                }
                4 => verdict.dead += 1,
                _ => verdict.pending += 1,
            }
        }
        let before = sent
            .iter()
            .filter(|sent| sent.id.is_some() && sent.ended < begun);
        let before: HashSet<u64> = before.map(|sent| sent.n).collect();
        verdict.acknowledged = before.len();
        verdict.hits = hits.len();
        for n in before.difference(&held) {
            let wrong = format!("lost: {n} was acknowledged before the copy was begun");
            verdict.wrong.push(wrong);
        }
        verdict
    }

    fn judge_with(&self, database: &Path, is_pruned: bool) -> Verdict {
        self.judge_rows(rows(database), is_pruned)
    }

    /// Judges the run by the body of each intent and the state of its delivery, as the database of
    /// any engine has them.
    pub fn judge_rows(&self, rows: Vec<(Vec<u8>, i64)>, is_pruned: bool) -> Verdict {
        let sent = locked(&self.sent);
        let hits = locked(&self.hits);
        let faults = locked(&self.faults);
        let mut verdict = Verdict::default();
        let mut wrong = Vec::new();

        let bodies: HashMap<u64, [u8; 32]> = sent.iter().map(|sent| (sent.n, sent.body)).collect();
        let mut ids: HashMap<u64, &str> = HashMap::new();
        for sent in sent.iter() {
            if let Some(id) = &sent.id {
                let first = ids.entry(sent.n).or_insert(id);
                if first != id {
                    wrong.push(format!("key {} got two ids: {first} and {id}", sent.key));
                }
            }
        }
        verdict.acknowledged = ids.len();

        let mut arrived: HashMap<u64, Vec<&Hit>> = HashMap::new();
        for hit in hits.iter() {
            let Some(n) = hit.n.filter(|n| bodies.contains_key(n)) else {
                wrong.push(format!("invented: {} arrived, and nobody sent it", hit.id));
                continue;
            };
            if bodies[&n] != hit.body {
                wrong.push(format!(
                    "altered: {} ({n}) arrived with another body",
                    hit.id
                ));
            }
            if ids.get(&n).is_some_and(|id| *id != hit.id) {
                wrong.push(format!("{} arrived as {} ({n})", ids[&n], hit.id));
            }
            arrived.entry(n).or_default().push(hit);
        }
        verdict.hits = hits.len();
        for (n, hits) in &arrived {
            // An arrival after an accepted one is a duplicate, which needs a fault in between as
            // its explanation. An arrival after a refused one is a retry.
            let Some(first) = hits.iter().position(|hit| hit.answered < 300) else {
                continue;
            };
            for pair in hits[first..].windows(2) {
                verdict.duplicates += 1;
                let is_retry = pair[0].answered >= 300;
                let since = pair[0].at.saturating_sub(LATE);
                if !(is_retry || faults.iter().any(|at| (since..=pair[1].at).contains(at))) {
                    wrong.push(format!(
                        "{} ({n}) came twice, and no fault explains it",
                        pair[1].id
                    ));
                }
            }
        }

        let was_taken = |n: u64| {
            let hits = arrived.get(&n);
            hits.is_some_and(|hits| hits.iter().any(|hit| hit.answered < 300))
        };
        let mut states: HashMap<u64, i64> = HashMap::new();
        for (body, state) in rows {
            let Some(n) = number(&body).filter(|n| bodies.contains_key(n)) else {
                wrong.push("invented: an intent that nobody sent".to_owned());
                continue;
            };
            if bodies[&n] != digest(&body) {
                wrong.push(format!("altered: {n} is stored with another body"));
            }
            if states.insert(n, state).is_some() {
                wrong.push(format!("{n} was accepted twice"));
            }
            match state {
                3 => {
                    verdict.delivered += 1;
                    if !was_taken(n) {
                        wrong.push(format!("lost: {n} is delivered, and never arrived"));
                    }
                }
                4 => verdict.dead += 1,
                _ => verdict.pending += 1,
            }
        }
        for (n, id) in &ids {
            if !(states.contains_key(n) || is_pruned && was_taken(*n)) {
                wrong.push(format!("lost: {id} ({n}) was acknowledged"));
            }
        }
        verdict.wrong = wrong;
        verdict
    }

    /// Writes the journal to a file, to find the cause of a violation.
    fn keep(&self, name: &str) -> std::io::Result<std::path::PathBuf> {
        use std::io::Write as _;
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{name}.log"));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        for sent in locked(&self.sent).iter() {
            let Sent {
                began,
                ended,
                key,
                status,
                id,
                records,
                ..
            } = sent;
            let body = &sent.body[..4];
            writeln!(
                file,
                "{began:?} to {ended:?}: sent {key} {body:02x?}, answered {status:?} {id:?} at record {records}"
            )?;
        }
        for hit in locked(&self.hits).iter() {
            let Hit {
                at,
                n,
                id,
                answered,
                ..
            } = hit;
            let body = &hit.body[..4];
            writeln!(
                file,
                "{at:?}: {id} arrived: {n:?} {body:02x?}, answered {answered}"
            )?;
        }
        for fault in locked(&self.faults).iter() {
            writeln!(file, "{fault:?}: a fault")?;
        }
        file.flush()?;
        Ok(path)
    }

    /// Judges the run and prints the verdict.
    ///
    /// # Panics
    ///
    /// If there is a violation.
    pub fn assert_no_violations(&self, name: &str, database: &Path) -> Verdict {
        self.assert_verdict(name, self.judge(database))
    }

    /// As [`Journal::assert_no_violations`], for [`Journal::judge_pruned`].
    ///
    /// # Panics
    ///
    /// If there is a violation.
    pub fn assert_no_violations_pruned(&self, name: &str, database: &Path) -> Verdict {
        self.assert_verdict(name, self.judge_pruned(database))
    }

    /// # Panics
    ///
    /// If there is a violation.
    pub fn assert_verdict(&self, name: &str, verdict: Verdict) -> Verdict {
        println!("{name}: {verdict}");
        if !verdict.wrong.is_empty() {
            let kept = self.keep(name).expect("room for a log");
            let first: Vec<_> = verdict.wrong.iter().take(10).collect();
            panic!(
                "{name}: {verdict}: {first:#?}; all of it is in {}",
                kept.display()
            );
        }
        verdict
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} delivered, {} dead, {} pending, {} hits, {} duplicates, {} wrong",
            self.acknowledged,
            self.delivered,
            self.dead,
            self.pending,
            self.hits,
            self.duplicates,
            self.wrong.len()
        )
    }
}

/// The state of each delivery, by the load's numbers.
pub fn states(database: &Path) -> HashMap<u64, i64> {
    let rows = rows(database).into_iter();
    rows.map(|(body, state)| (number(&body).expect("the load's"), state))
        .collect()
}

/// The body of each intent and the state of its delivery.
fn rows(database: &Path) -> Vec<(Vec<u8>, i64)> {
    let sql = rusqlite::Connection::open(database).expect("the database opens");
    let check: String = sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok", "{}", database.display());
    let mut statement = sql
        .prepare(
            "SELECT i.body, d.state FROM intents i LEFT JOIN deliveries d ON d.intent_id = i.id",
        )
        .expect("good SQL");
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows");
    rows.collect::<Result<_, _>>().expect("whole rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(n: u64, id: Option<&str>) -> Sent {
        Sent {
            n,
            key: format!("k{n}"),
            body: digest(format!("{{\"n\":{n}}}").as_bytes()),
            began: Duration::ZERO,
            ended: Duration::ZERO,
            status: None,
            id: id.map(str::to_owned),
            records: 0,
        }
    }

    fn hit(n: u64, id: &str, body: &str) -> Hit {
        Hit {
            n: Some(n),
            id: id.to_owned(),
            body: digest(body.as_bytes()),
            at: Duration::from_millis(n),
            answered: 200,
        }
    }

    fn database(rows: &[(&str, i64)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let sql =
            rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
        sql.execute_batch(
            "CREATE TABLE intents (id INTEGER PRIMARY KEY, body BLOB);
             CREATE TABLE deliveries (intent_id INTEGER, state INTEGER)",
        )
        .expect("tables");
        for (at, (body, state)) in rows.iter().enumerate() {
            let at = i64::try_from(at).expect("few");
            sql.execute("INSERT INTO intents VALUES (?1, ?2)", (at, body.as_bytes()))
                .expect("a row");
            sql.execute("INSERT INTO deliveries VALUES (?1, ?2)", (at, state))
                .expect("a row");
        }
        directory
    }

    fn wrong(journal: &Journal, rows: &[(&str, i64)]) -> String {
        let directory = database(rows);
        journal
            .judge(&directory.path().join("relay.db"))
            .wrong
            .join("; ")
    }

    #[test]
    fn the_judge_finds_each_violation() {
        let journal = Journal::new();
        journal.sent(sent(1, Some("a")));
        journal.sent(sent(2, None));
        journal.hit(hit(1, "a", "{\"n\":1}"));
        assert_eq!(wrong(&journal, &[("{\"n\":1}", 3), ("{\"n\":2}", 0)]), "");
        assert_eq!(wrong(&journal, &[]), "lost: a (1) was acknowledged");
        let empty = database(&[]);
        let pruned = |journal: &Journal| journal.judge_pruned(&empty.path().join("relay.db")).wrong;
        assert_eq!(pruned(&journal), Vec::<String>::new());
        journal.sent(sent(5, Some("e")));
        let mut refused = hit(5, "e", "{\"n\":5}");
        refused.answered = 503;
        journal.hit(refused);
        assert_eq!(pruned(&journal), ["lost: e (5) was acknowledged"]);
        let journal = Journal::new();
        journal.sent(sent(1, Some("a")));
        journal.sent(sent(2, None));
        journal.hit(hit(1, "a", "{\"n\":1}"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3), ("{\"n\":1}", 3)]).contains("accepted twice"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3), ("{\"n\":3}", 0)]).contains("invented"));
        assert!(wrong(&journal, &[("{\"n\":1, }", 3)]).contains("altered"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3), ("{\"n\":2}", 3)]).contains("never arrived"));

        journal.hit(hit(1, "a", "{\"n\":1}"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3)]).contains("no fault explains"));
        journal.hit(hit(1, "a", "{\"n\":1}x"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3)]).contains("another body"));

        // Accepted, killed, refused, accepted: the fault explains the second arrival, the refusal
        // the third.
        let again = |faults: Vec<Duration>| {
            let journal = Journal::new();
            journal.sent(sent(1, Some("a")));
            for (at, answered) in [(1_000, 200), (2_000, 503), (3_000, 200)] {
                let mut hit = hit(1, "a", "{\"n\":1}");
                (hit.at, hit.answered) = (Duration::from_millis(at), answered);
                journal.hit(hit);
            }
            *locked(&journal.faults) = faults;
            wrong(&journal, &[("{\"n\":1}", 3)])
        };
        assert_eq!(again(vec![Duration::from_millis(1_500)]), "");
        let unexplained = again(vec![Duration::from_millis(2_500)]);
        assert_eq!(unexplained.matches("no fault explains").count(), 1);
        journal.hit(hit(9, "z", "{\"n\":9}"));
        assert!(wrong(&journal, &[("{\"n\":1}", 3)]).contains("nobody sent"));
        journal.sent(sent(1, Some("b")));
        assert!(wrong(&journal, &[("{\"n\":1}", 3)]).contains("two ids"));
    }

    #[test]
    fn the_judge_finds_each_violation_of_a_copy() {
        let journal = Journal::new();
        let at = Duration::from_millis;
        for (n, ended) in [(1, 10), (2, 20), (3, 90)] {
            journal.sent(Sent {
                ended: at(ended),
                ..sent(n, Some("a"))
            });
        }
        // It arrives after the end of a copy that lasts from 50 to 60.
        for (n, arrives) in [(1, 55), (2, 65)] {
            let mut hit = hit(n, "a", &format!("{{\"n\":{n}}}"));
            hit.at = at(arrives);
            journal.hit(hit);
        }
        let wrong = |rows: &[(&str, i64)]| {
            let directory = database(rows);
            let path = directory.path().join("relay.db");
            journal.judge_copy(&path, at(50), at(60)).wrong.join("; ")
        };
        let (one, two) = (("{\"n\":1}", 3), ("{\"n\":2}", 0));
        assert_eq!(wrong(&[one, two]), "");
        assert_eq!(wrong(&[one, two, ("{\"n\":3}", 2)]), "");
        assert!(wrong(&[one]).contains("lost: 2 was acknowledged"));
        assert!(wrong(&[one, ("{\"n\":2}", 3)]).contains("2 is delivered in the copy"));
        assert!(wrong(&[one, two, two]).contains("2 twice"));
        assert!(wrong(&[one, ("{\"n\":2, }", 0)]).contains("altered"));
        assert!(wrong(&[one, two, ("{\"n\":9}", 0)]).contains("invented"));
    }

    #[test]
    fn a_wait_is_measured_from_one_death_to_the_next() {
        let second = Duration::from_secs;
        let deaths = [second(2), second(8), second(20)];
        let undisturbed =
            |since, until| Wait::of(0, second(since), second(until), &deaths).undisturbed;
        assert_eq!(undisturbed(3, 7), second(4), "none");
        assert_eq!(undisturbed(3, 10), second(5), "before it");
        assert_eq!(undisturbed(7, 12), second(4), "after it");
        assert_eq!(undisturbed(1, 30), second(12), "between two");
    }
}
