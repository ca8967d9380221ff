//! Shedding, in stores of all kinds of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::ops::payload;
use crate::store::types::IntentRow;

/// Keys are kept for this long.
const WINDOW: Duration = Duration::from_secs(3600);
/// Steps after which maintenance must have come to rest.
const STEPS: usize = 5_000;

/// The fate of an event's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Discarded,
    Unrouted,
    Erased,
    Queued,
    Retrying,
    Processing,
    Dead,
    /// One delivery is made, and the other waits.
    HalfDelivered,
    /// One delivery is made, and the other is a dead letter.
    HalfDead,
}

impl Fate {
    /// Whether nothing of the event waits, and no operator may want it again.
    fn may_be_shed(self) -> bool {
        matches!(self, Self::Delivered | Self::Discarded | Self::Unrouted)
    }

    fn destinations(self) -> &'static [&'static str] {
        match self {
            Self::Unrouted => &[],
            Self::HalfDelivered | Self::HalfDead => &["d", "e"],
            _ => &["d"],
        }
    }

    /// The change of the deliveries of an event, whose last destination has the greater id.
    fn statement(self) -> &'static str {
        match self {
            Self::Unrouted | Self::Queued => "",
            Self::Delivered | Self::Erased => "state = 3, next_attempt_at = NULL",
            Self::Retrying => "state = 2, attempts = 1",
            Self::Processing => "state = 1, claim = 1000 + intent_id, next_attempt_at = NULL",
            Self::Dead => "state = 4, next_attempt_at = NULL, last_error = 'e'",
            Self::Discarded => {
                "state = 4, next_attempt_at = NULL, last_error = 'discarded', discarded_at = 1"
            }
            Self::HalfDelivered => {
                "state = iif(destination_id = 1, 3, 0),
                 next_attempt_at = iif(destination_id = 1, NULL, next_attempt_at)"
            }
            Self::HalfDead => {
                "state = iif(destination_id = 1, 3, 4), next_attempt_at = NULL, last_error = 'e'"
            }
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Delivered),
        1 => Just(Fate::Discarded),
        1 => Just(Fate::Unrouted),
        1 => Just(Fate::Erased),
        1 => Just(Fate::Queued),
        1 => Just(Fate::Retrying),
        1 => Just(Fate::Processing),
        1 => Just(Fate::Dead),
        1 => Just(Fate::HalfDelivered),
        1 => Just(Fate::HalfDead),
    ]
}

/// An event to be accepted.
#[derive(Clone, Debug)]
struct Event {
    fate: Fate,
    bytes: usize,
    /// The time that passes before it.
    seconds: u64,
}

fn event() -> impl Strategy<Value = Event> {
    (fate(), 0..40_000_usize, 0..120_u64).prop_map(|(fate, bytes, seconds)| Event {
        fate,
        bytes,
        seconds,
    })
}

/// The state of an event in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    bytes: i64,
    is_shed: bool,
}

/// A store of events in their order.
struct World {
    scene: Scene,
    max: u64,
    events: BTreeMap<i64, (Fate, Row)>,
}

impl World {
    fn new(max: u64) -> Self {
        let scene = Scene::new(|config| {
            config.database.max_bytes = Some(max);
        });
        // The destinations have the ids 1 and 2 from here on.
        scene.accept("s", "first", &["d", "e"], 0);
        scene.execute("UPDATE deliveries SET state = 3, next_attempt_at = NULL");
        scene.execute("DELETE FROM intents");
        Self {
            scene,
            max,
            events: BTreeMap::new(),
        }
    }

    fn accept(&mut self, event: &Event) {
        self.scene.clock.advance(Duration::from_secs(event.seconds));
        let key = format!("{}", self.events.len());
        let destinations = event.fate.destinations();
        self.scene.accept("s", &key, destinations, event.bytes);
        let fate = event.fate;
        let op = Do(move |tx: &Tx<'_>| {
            let id = tx
                .sql
                .query_row("SELECT max(id) FROM intents", [], |row| row.get(0))?;
            if !fate.statement().is_empty() {
                let change = fate.statement();
                let sql = format!("UPDATE deliveries SET {change} WHERE intent_id = ?1");
                tx.sql.execute(&sql, [id])?;
            }
            if fate == Fate::Erased {
                payload::erase(tx, IntentRow(id))?;
            }
            Ok(id)
        });
        let id = self.scene.store.write_blocking(op).expect("a fate");
        let row = self.rows()[&id];
        self.events.insert(id, (fate, row));
    }

    fn rows(&self) -> BTreeMap<i64, Row> {
        let rows = self.scene.store.read_blocking(|sql| {
            let mut statement = sql.prepare(
                "SELECT id, length(body) + length(headers), coalesce(gone, 0) FROM intents",
            )?;
            let rows = statement.query_map([], |row| {
                let is_shed = row.get::<_, i64>(2)? == 2;
                let bytes = row.get(1)?;
                Ok((row.get(0)?, Row { bytes, is_shed }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.expect("rows")
    }

    /// The share of the bound that is used, in percent.
    fn used(&self) -> u64 {
        let used = self.scene.store.read_blocking(|sql| {
            let number = |pragma: &str| sql.query_row(pragma, [], |row| row.get::<_, u32>(0));
            let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
            Ok(u64::from(pages) * 4096)
        });
        used.expect("numbers") * 100 / self.max
    }

    /// Lets maintenance go on until it has come to rest.
    fn rest(&mut self) {
        let mut idle = 0;
        for _ in 0..STEPS {
            let rest = self.scene.worker.run_once().expect("a step");
            self.scene.clock.advance(rest);
            idle = if rest >= Duration::from_secs(1) {
                idle + 1
            } else {
                0
            };
            if idle == 4 {
                return;
            }
        }
        panic!("maintenance doesn't come to rest");
    }

    /// Whether an event has given up its payload or its row.
    fn is_shed(id: i64, before: Row, after: &BTreeMap<i64, Row>) -> bool {
        after.get(&id).is_none_or(|row| *row != before)
    }

    /// Asserts that only what may be shed was shed, and that the keys within the window live on.
    fn check_what_is_shed(&self) {
        let after = self.rows();
        let now = self.scene.clock.now();
        for (n, (id, (fate, before))) in self.events.iter().enumerate() {
            let is_shed = Self::is_shed(*id, *before, &after);
            assert!(!is_shed || fate.may_be_shed(), "{fate:?} was shed");
            let is_over = IntentRow(*id) < IntentRow::first_at(now.minus(WINDOW));
            assert!(is_over || after.contains_key(id), "its key is needed");
            if is_shed && let Some(row) = after.get(id) {
                assert_eq!((row.bytes, row.is_shed), (0, true), "half of it is gone");
            }
            if is_shed && !is_over {
                let again = self.scene.again("s", &n.to_string(), fate.destinations());
                assert!(matches!(again, Accepted::Duplicate(_)), "{again:?}");
            }
        }
    }

    /// Asserts that no older event was spared for a younger one. Those without deliveries come
    /// after all others.
    fn check_order(&self) {
        let after = self.rows();
        for are_unrouted in [false, true] {
            let sheddable = self.events.iter().filter(|(_, (fate, before))| {
                let is_unrouted = *fate == Fate::Unrouted;
                fate.may_be_shed() && is_unrouted == are_unrouted && before.bytes > 0
            });
            let shed: Vec<bool> = sheddable
                .map(|(id, (_, before))| Self::is_shed(*id, *before, &after))
                .collect();
            assert!(shed.is_sorted_by(|one, next| one >= next), "{shed:?}");
        }
    }

    /// Asserts that the bound is kept, or that nothing is left that may be shed, and that this was
    /// said.
    fn check_bound(&self, is_stuck: bool) {
        let after = self.rows();
        let left = self.events.iter().filter(|(id, (fate, before))| {
            fate.may_be_shed() && before.bytes > 0 && !Self::is_shed(**id, *before, &after)
        });
        let left = left.count();
        let used = self.used();
        assert!(used <= 90 || left == 0, "{used} %, and {left} may be shed");
        assert!(used <= 90 || is_stuck, "{used} %, and nothing was said");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn only_finished_events_are_shed_the_oldest_first_until_there_is_room(
        max in 1_u64..4,
        events in prop::collection::vec(event(), 1..120),
        more in prop::collection::vec(event(), 0..40),
    ) {
        let mut world = World::new(max << 20);
        for event in &events {
            world.accept(event);
        }
        let had_room = world.used() <= 85;
        world.rest();
        world.check_what_is_shed();
        world.check_order();
        world.check_bound(world.scene.worker.is_out_of_room());
        if had_room {
            let after = world.rows();
            let is_same = |(id, (_, before)): (&i64, &(Fate, Row))| after.get(id) == Some(before);
            prop_assert!(world.events.iter().all(is_same), "there was room");
        }
        // The waiting ones are delivered, and more come. A pass begins where the one before has
        // ended.
        world.scene.all_arrive();
        for (fate, _) in world.events.values_mut() {
            if matches!(fate, Fate::Queued | Fate::Retrying | Fate::HalfDelivered) {
                *fate = Fate::Delivered;
            }
        }
        for event in &more {
            world.accept(event);
        }
        world.rest();
        world.check_what_is_shed();
        world.check_bound(world.scene.worker.is_out_of_room());
        world.scene.store.stop();
    }
}
