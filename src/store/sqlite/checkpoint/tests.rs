use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config;
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::store::context::StoreContext;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::space::Space;
use crate::store::sqlite::tests::{LONGEST_WAIT, context, fine};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

fn shared(path: &Path, clock: &Arc<FakeClock>, metrics: Arc<Metrics>) -> Shared {
    let context = StoreContext {
        metrics,
        ..context(Arc::<FakeClock>::clone(clock))
    };
    Shared::new(path.to_owned(), context)
}

fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

struct Scene {
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    shared: Arc<Shared>,
    sql: Connection,
    checkpoints: Checkpoints,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        let clock = clock();
        let metrics = Arc::new(Metrics::new(Level::Off));
        let shared = Arc::new(shared(&path, &clock, metrics));
        let sql = open::writer(&path, &|| 0).expect("a database");
        let checkpoints = Checkpoints::new(&sql, Arc::clone(&shared));
        let mut scene = Self {
            directory,
            clock,
            shared,
            sql,
            checkpoints,
        };
        scene
            .checkpoints
            .when_idle(&scene.sql)
            .expect("a checkpoint");
        scene
    }

    /// Commits a row of this many bytes.
    fn write(&mut self, bytes: usize) {
        self.insert(bytes);
        self.after_batch();
    }

    fn insert(&self, bytes: usize) {
        self.sql
            .execute(
                "INSERT INTO intents (random, surface, created_at, label, headers, body)
                 VALUES (0, 1, 0, 's', x'', randomblob(?1))",
                [i64::try_from(bytes).expect("few")],
            )
            .expect("a row");
    }

    /// Ends a batch, and waits for the thread that it started.
    fn after_batch(&mut self) {
        self.batch();
        while self.checkpoints.thread.is_some() {
            self.wait_for_thread();
        }
    }

    /// Ends a batch.
    fn batch(&mut self) {
        self.checkpoints
            .after_batch(&self.sql, true)
            .expect("a checkpoint");
    }

    /// Waits for the thread under way, and ends a batch.
    fn wait_for_thread(&mut self) {
        self.thread_ends();
        self.batch();
    }

    /// Waits for the thread under way, whose result the next batch takes.
    fn thread_ends(&mut self) {
        let told = self.checkpoints.thread.take().expect("a thread");
        let result = told.recv().expect("it doesn't panic");
        let (again, told) = sync_channel(1);
        again.send(result).expect("room");
        self.checkpoints.thread = Some(told);
    }

    /// Takes a snapshot, as another process.
    fn reader(&self) -> Connection {
        reader(&self.directory)
    }

    fn unfinished(&self) -> i64 {
        unfinished(&self.shared.metrics)
    }

    fn wal_bytes(&self) -> u64 {
        let path = self.directory.path().join("relay.db-wal");
        path.metadata().map_or(0, |found| found.len())
    }
}

fn reader(directory: &tempfile::TempDir) -> Connection {
    let reader = Connection::open(directory.path().join("relay.db")).expect("a connection");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM intents")
        .expect("a snapshot");
    reader
}

fn unfinished(metrics: &Metrics) -> i64 {
    let text = metrics.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("relay_wal_unfinished_frames "));
    line.expect("a gauge").parse().expect("a number")
}

#[test]
fn frames_that_a_reader_keeps_in_the_log_are_counted() {
    let mut scene = Scene::new();
    scene.write(10);
    let few = scene.unfinished();
    assert!(few > 0 && few < 20, "{few}");
    scene.checkpoints.when_idle(&scene.sql).expect("emptied");
    assert_eq!((scene.unfinished(), scene.wal_bytes()), (0, 0));
    scene.write(10);
    let reader = scene.reader();
    for _ in 0..30 {
        scene.write(200_000);
    }
    let many = scene.unfinished();
    assert!(many > 30 * 49, "{many}");
    assert!(scene.checkpoints.is_held());
    reader.execute_batch("COMMIT").expect("its end");
    scene.write(3_000_000);
    assert!(!scene.checkpoints.is_held());
    assert_eq!(scene.unfinished(), 0);
    // The log begins anew.
    scene.write(10);
    assert!(scene.unfinished() < 20, "{}", scene.unfinished());
}

#[test]
fn a_checkpoint_that_was_cut_short_is_repeated_after_a_time_under_little_load() {
    let mut scene = Scene::new();
    scene.write(10);
    let reader = scene.reader();
    scene.write(3_000_000);
    reader.execute_batch("COMMIT").expect("its end");
    scene.write(10);
    assert!(scene.unfinished() > 700, "the next is due after 500 frames");
    scene.clock.advance(Duration::from_secs(9));
    scene.write(10);
    assert!(scene.unfinished() > 700, "nor is it time");
    scene.clock.advance(Duration::from_secs(1));
    scene.write(10);
    assert_eq!(scene.unfinished(), 0);
}

#[test]
fn the_backlog_of_a_reader_is_moved_beside_the_writer() {
    let mut scene = Scene::new();
    scene.write(10);
    let reader = scene.reader();
    for _ in 0..40 {
        scene.write(1 << 20);
    }
    let many = scene.unfinished();
    assert!(many > 40 * 256, "{many}");
    // While the reader is there, the thread finds that out, too.
    scene.clock.advance(Duration::from_secs(10));
    scene.after_batch();
    assert_eq!(scene.unfinished(), many);
    reader.execute_batch("COMMIT").expect("its end");
    scene.clock.advance(Duration::from_secs(10));
    scene.batch();
    assert_eq!(scene.unfinished(), many, "the writer has moved nothing");
    // The writer goes on meanwhile.
    scene.insert(10);
    scene.wait_for_thread();
    assert!(scene.unfinished() < 20, "{}", scene.unfinished());
    assert!(scene.wal_bytes() > 40 << 20);
    scene.checkpoints.when_idle(&scene.sql).expect("emptied");
    assert_eq!((scene.unfinished(), scene.wal_bytes()), (0, 0));
    let check: String = scene
        .sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok");
}

#[test]
fn a_log_that_is_written_without_a_pause_begins_anew_and_the_writer_moves_few_frames() {
    let mut scene = Scene::new();
    let mut most = 0;
    for _ in 0..100 {
        // The snapshot keeps a thread from moving the row, as one that began before its commit.
        let before = scene.reader();
        scene.insert(200_000);
        scene.batch();
        if scene.checkpoints.thread.is_some() {
            scene.thread_ends();
            before.execute_batch("COMMIT").expect("its end");
            scene.batch();
        }
        most = most.max(scene.wal_bytes());
    }
    // Some 50 frames a row, and a thread every 500 frames.
    let restart = bytes(RESTART_FRAMES);
    assert!(most < restart + bytes(2 * FRAMES), "{most}");
    assert!(most > restart, "the writer moves frames too often: {most}");
}

#[test]
fn a_reader_that_stays_is_reported_and_again_when_the_log_has_doubled() {
    let start = Timestamp::from_millis(0);
    let at = |seconds| {
        (
            Duration::from_secs(seconds),
            start.plus(Duration::from_secs(seconds)),
        )
    };
    let mut reader = StayingReader::default();
    let mut seen = |(now, time), frames, moved| reader.observe(frames, moved, now, time);
    let since = |seconds| News::Stays {
        since: at(seconds).1,
    };
    // Readers that come and go let each checkpoint get further, however many they are.
    for round in 0..1_000_u32 {
        let moved = i64::from(round) * 100;
        assert_eq!(seen(at(u64::from(round)), moved + 50, moved), None);
    }
    // A reader stays, while little is written.
    assert_eq!(seen(at(2_000), 700, 200), None);
    assert_eq!(seen(at(2_059), 800, 200), None);
    assert_eq!(seen(at(2_060), 900, 200), Some(since(2_000)));
    assert_eq!(seen(at(90_000), TRUNCATE_FRAMES - 1, 200), None);
    assert_eq!(seen(at(90_001), TRUNCATE_FRAMES, 200), Some(since(2_000)));
    assert_eq!(seen(at(90_002), 2 * TRUNCATE_FRAMES - 1, 200), None);
    assert_eq!(
        seen(at(90_003), 2 * TRUNCATE_FRAMES, 200),
        Some(since(2_000))
    );
    // Another reader takes its place: the reader is not reported as gone.
    assert_eq!(seen(at(90_004), 2 * TRUNCATE_FRAMES + 9, 300), None);
    let stayed = Duration::from_secs(90_005 - 2_000);
    assert_eq!(
        seen(at(90_005), 90_000, 90_000),
        Some(News::IsGone { stayed })
    );
    assert_eq!(seen(at(90_006), 90_000, 90_000), None);
    // Under load a reader is reported as soon as the log is larger than it should be.
    assert_eq!(seen(at(90_007), TRUNCATE_FRAMES + 4, 5), None);
    assert_eq!(
        seen(at(90_008), TRUNCATE_FRAMES + 5, 5),
        Some(since(90_007))
    );
}

#[test]
fn the_room_that_a_checkpoint_needs_counts_as_taken() {
    let mut scene = Scene::new();
    let path = scene.directory.path().join("relay.db");
    let free = Arc::new(AtomicU64::new(100 << 20));
    let looks = Arc::new(AtomicUsize::new(0));
    let free_bytes = {
        let (free, looks) = (Arc::clone(&free), Arc::clone(&looks));
        Box::new(move |_: &Path| {
            looks.fetch_add(1, Ordering::SeqCst);
            Ok(free.load(Ordering::SeqCst))
        })
    };
    let mut space = Space::new(&path, 64 << 20, free_bytes);
    let mut look = |scene: &Scene| {
        let size = || {
            let pages = scene
                .sql
                .query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0));
            u64::from(pages.expect("a number")) * u64::from(PAGE)
        };
        space.refresh(&scene.shared, Checkpoints::wal_bytes(), size);
        let is_low = scene.shared.low_space.load(Ordering::SeqCst);
        (is_low, space.is_needed_by_the_checkpoint())
    };
    assert_eq!(look(&scene), (false, false));
    scene.write(10);
    let reader = scene.reader();
    for _ in 0..40 {
        scene.write(1 << 20);
    }
    // Within the same second, much was written since.
    assert_eq!(look(&scene), (true, false), "100 MiB are 60 without the 40");
    assert_eq!(looks.load(Ordering::SeqCst), 2);
    scene.write(10);
    look(&scene);
    assert_eq!(looks.load(Ordering::SeqCst), 2, "little was written since");
    free.store(50 << 20, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(look(&scene), (true, true), "a batch may take 16 MiB");
    // All frames are moved into the room that was kept.
    reader.execute_batch("COMMIT").expect("its end");
    scene.clock.advance(Duration::from_secs(10));
    scene.after_batch();
    free.store(65 << 20, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(look(&scene), (false, false));
}

/// Adds a row of a megabyte.
struct Large;

impl WriteOp for Large {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.sql.execute(
            "INSERT INTO intents (random, surface, created_at, label, headers, body)
             VALUES (0, 1, 0, 's', x'', randomblob(1 << 20))",
            [],
        )?;
        fine(tx)
    }
}

#[test]
fn writes_are_refused_before_a_staying_reader_fills_the_disk_and_again_taken_after_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = config::Database {
        path: directory.path().join("relay.db"),
        min_free_bytes: 20 << 20,
        ..config::Database::default()
    };
    let (clock, metrics) = (clock(), Arc::new(Metrics::new(Level::Off)));
    // A disk of 80 MiB.
    let free_bytes = Box::new(|directory: &Path| {
        let taken: u64 = std::fs::read_dir(directory)?
            .flatten()
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum();
        Ok((80_u64 << 20).saturating_sub(taken))
    });
    let shared = shared(&settings.path, &clock, Arc::clone(&metrics));
    let store =
        Sqlite::open_on(&settings, LONGEST_WAIT, shared, free_bytes).expect("the store opens");
    store.write_blocking(Large).expect("written");
    let staying = reader(&directory);
    let mut until_low = 0;
    let mut until_refused = 0;
    let refused = loop {
        if !store.is_low_on_space() {
            until_low += 1;
        }
        match store.write_blocking(Large) {
            Ok(()) => until_refused += 1,
            Err(error) => break error,
        }
        assert!(until_refused < 80, "the disk is full");
    };
    assert!(matches!(refused, StoreError::Full), "{refused}");
    assert!(until_low < until_refused, "{until_low}, {until_refused}");
    // A megabyte in the WAL needs another in the database: of 80 MiB, 16 are for the last batch.
    assert!((20..=33).contains(&until_refused), "{until_refused}");
    assert!(unfinished(&metrics) > 20 * 256);
    staying.execute_batch("COMMIT").expect("its end");
    // A refused batch begins the checkpoint that is due, which finds the room that was kept for it.
    let mut is_written = false;
    for _ in 0..1_000_000 {
        clock.advance(Duration::from_secs(10));
        is_written = store.write_blocking(Large).is_ok();
        if is_written {
            break;
        }
        std::thread::yield_now();
    }
    assert!(is_written, "{} frames are left", unfinished(&metrics));
    store.stop();
}
