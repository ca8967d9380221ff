use super::*;
use crate::clock::FakeClock;
use crate::config::Config;
use crate::model::Level;
use crate::store::StoreContext;

const HOUR: Duration = Duration::from_secs(3_600);

/// A store whose backups go below its directory, every hour, of which two are kept.
struct Scene {
    agent: BackupAgent,
    clock: Arc<FakeClock>,
    directory: tempfile::TempDir,
    config: Config,
}

impl Scene {
    fn new() -> Self {
        Self::in_directory(tempfile::tempdir().expect("a directory"), "backups")
    }

    fn in_directory(directory: tempfile::TempDir, to: &str) -> Self {
        let mut config = Config::default();
        config.database.path = directory.path().join("relay.db");
        config.database.min_free_bytes = 0;
        config.backup = Some(Backup {
            every: HOUR,
            keep: 2,
            ..Backup::to(directory.path().join(to))
        });
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_800_000_000_000)));
        let metrics = Arc::new(Metrics::new(Level::Off));
        let context = StoreContext {
            clock: Arc::<FakeClock>::clone(&clock),
            node: crate::config::Node::default(),
            metrics: Arc::clone(&metrics),
            stop: Stop::default(),
            on_work: Arc::new(|_| {}),
            on_outside_write: Arc::new(|| {}),
            on_broken: Arc::new(|_| {}),
        };
        let store = Store::open(&config.database, HOUR, context).expect("the store opens");
        let pass = Pass {
            store,
            config: Live::from(config.resolve()),
            clock: Arc::<FakeClock>::clone(&clock),
            metrics,
            notices: Notices::default(),
        };
        Self {
            agent: BackupAgent::new(pass, Stop::default()),
            clock,
            directory,
            config,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Option<Backup>)) {
        change(&mut self.config.backup);
        let resolved = Arc::new(self.config.resolve());
        self.agent.pass.config.replace(resolved);
    }

    /// Lets the agent make the backup that is due, if one is, and take its result.
    fn look(&mut self) {
        self.agent.run_once().expect("a look");
        self.agent.finish();
    }

    /// The names of the backups, oldest first.
    fn backups(&self) -> Vec<String> {
        let at = self.directory.path().join("backups");
        let entries = std::fs::read_dir(at).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.agent.pass.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().parse().expect("a number"))
    }

    fn failure(&self) -> Option<String> {
        let noticed = self.agent.pass.notices.noticed();
        noticed.failures.get(&Failure::Backup).cloned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.agent.pass.store.stop();
    }
}

#[test]
fn a_backup_is_made_when_it_is_due_and_the_oldest_beyond_those_kept_are_deleted() {
    let mut scene = Scene::new();
    let success = "relay_backup_last_success_timestamp_seconds ";
    assert_eq!(scene.metric(success), None);
    scene.look();
    let first = "relay-20270115T080000Z.db";
    assert_eq!(scene.backups(), [first]);
    assert_eq!(scene.metric(success), Some(1_800_000_000.0));
    assert!(scene.metric("relay_backup_last_bytes ") > Some(10_000.0));
    assert!(
        scene
            .metric("relay_backup_last_duration_seconds ")
            .is_some()
    );
    scene.clock.advance(Duration::from_millis(3_599_999));
    scene.look();
    assert_eq!(scene.backups().len(), 1, "not yet");
    scene.clock.advance(Duration::from_millis(1));
    scene.look();
    assert_eq!(scene.backups().len(), 2);
    scene.clock.advance(HOUR);
    scene.look();
    let left = ["relay-20270115T090000Z.db", "relay-20270115T100000Z.db"];
    assert_eq!(scene.backups(), left);
    for name in left {
        let path = scene.directory.path().join("backups").join(name);
        verify_backup(&path).expect("it is whole");
    }
}

#[test]
fn the_last_backup_is_remembered_over_a_restart_and_reloads_are_obeyed() {
    let mut scene = Scene::new();
    scene.look();
    // As after a start.
    scene.agent = BackupAgent::new(scene.agent.pass.clone(), Stop::default());
    scene.clock.advance(HOUR / 2);
    scene.look();
    assert_eq!(scene.backups().len(), 1);
    scene.change(|backup| backup.as_mut().expect("a section").every = HOUR / 4);
    scene.look();
    assert_eq!(scene.backups().len(), 2);
    scene.change(|backup| *backup = None);
    scene.clock.advance(HOUR * 5);
    scene.look();
    assert_eq!(scene.backups().len(), 2);
}

#[test]
fn only_whole_backups_of_this_database_are_deleted() {
    let mut scene = Scene::new();
    scene.look();
    scene.clock.advance(HOUR);
    scene.look();
    let at = |name: &str| scene.directory.path().join("backups").join(name);
    let [damaged, _] = &scene.backups()[..] else {
        panic!("{:?}", scene.backups());
    };
    let damaged = damaged.clone();
    let mut bytes = std::fs::read(at(&damaged)).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(at(&damaged), bytes).expect("written");
    // Another database's, a copy of somebody's, and the remains of an interrupted one.
    let other = Scene::in_directory(tempfile::tempdir().expect("a directory"), "backups");
    let foreign = at("relay-20200101T000000Z.db");
    let made = other
        .agent
        .pass
        .store
        .back_up(&foreign, 0, StopCheck::never());
    made.expect("a backup");
    std::fs::write(at("mine.db"), "text").expect("written");
    std::fs::write(at("relay-20200101T000001Z.db.partial"), "a part").expect("written");
    std::fs::write(at("mine.db.partial"), "a part").expect("written");
    scene.clock.advance(HOUR);
    scene.look();
    let left = scene.backups();
    let newest = "relay-20270115T100000Z.db";
    assert!(
        left.contains(&damaged) && left.contains(&newest.to_owned()),
        "{left:?}"
    );
    for name in ["mine.db", "mine.db.partial", "relay-20200101T000000Z.db"] {
        assert!(left.contains(&name.to_owned()), "{left:?}");
    }
    assert_eq!(left.len(), 6, "{left:?}");
}

#[test]
fn a_failure_is_told_once_and_tried_again_later() {
    let mut scene = Scene::new();
    let missing = scene.directory.path().join("nothing/there");
    scene.change(|backup| backup.as_mut().expect("a section").directory = missing);
    scene.look();
    assert_eq!(
        scene.failure().as_deref(),
        Some("the directory can't be used")
    );
    let there = scene.directory.path().join("backups");
    scene.change(|backup| backup.as_mut().expect("a section").directory = there);
    scene.look();
    assert!(scene.failure().is_some(), "not at once");
    scene.clock.advance(LONGEST_PAUSE);
    scene.look();
    assert_eq!(scene.failure(), None);
    assert_eq!(scene.backups().len(), 1);
}

#[test]
fn a_stop_gives_a_backup_up_and_is_no_failure() {
    let mut scene = Scene::new();
    scene.agent.stop.ask(crate::stop::Deadline::now());
    scene.look();
    assert!(!scene.agent.is_running());
    assert_eq!((scene.failure(), scene.backups().len()), (None, 0));
}

#[test]
fn names_of_scheduled_backups_are_told_from_others() {
    assert!(is_ours("relay-20261126T130501Z.db"));
    for name in [
        "relay-20261126T130501Z.db.partial",
        "relay-20261126T130501Z",
        "relay-2026.db",
        "relay-20261126130501ZZ.db",
        "relay.db",
        "copy-20261126T130501Z.db",
    ] {
        assert!(!is_ours(name), "{name}");
    }
}
