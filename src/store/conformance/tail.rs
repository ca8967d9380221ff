//! A store that is followed.

use std::time::Duration;

use crate::model::DeliveryState;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{Scene, event_of, event_to};
use crate::store::types::{NewBulk, TailCursor, TailEvent, TailPage, TailQuery};

const MINUTE: Duration = Duration::from_secs(60);

/// A tail, and its looks as texts.
struct Tail {
    query: TailQuery,
    cursor: TailCursor,
}

impl Tail {
    /// Begins with the next event.
    fn begin(scene: &Scene, query: TailQuery) -> Self {
        let mut tail = Self::of(query);
        assert!(tail.look(scene).is_empty());
        tail
    }

    fn of(query: TailQuery) -> Self {
        Self {
            query,
            cursor: TailCursor::default(),
        }
    }

    fn page(&mut self, scene: &Scene) -> TailPage {
        let page = scene.operator().tail(&self.query, &mut self.cursor);
        page.expect("a look")
    }

    fn look(&mut self, scene: &Scene) -> Vec<String> {
        let page = self.page(scene);
        assert!(!page.has_gap);
        let text = |what: &TailEvent| match what {
            TailEvent::Accepted { destinations, .. } => {
                format!("accepted for {}", destinations.join(" "))
            }
            TailEvent::Attempt {
                destination,
                state,
                entry,
            } => format!("{} at {destination}: {state}", entry.outcome),
        };
        page.entries.iter().map(|entry| text(&entry.what)).collect()
    }
}

pub fn a_tail_tells_of_each_event_and_attempt_once(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_to(&["before"]));
    let mut tail = Tail::begin(&scene, TailQuery::default());
    scene.clock.advance(MINUTE);
    scene.accept(event_to(&["a", "b"]));
    assert_eq!(tail.look(&scene), ["accepted for a b"]);
    assert!(tail.look(&scene).is_empty());
    scene.clock.advance(MINUTE);
    scene.deliver_due();
    // The one from before was due already.
    assert_eq!(
        tail.look(&scene),
        [
            "delivered at before: delivered",
            "delivered at a: delivered",
            "delivered at b: delivered",
        ]
    );
    assert!(tail.look(&scene).is_empty());
    // Accepted and attempted between two looks.
    scene.accept(event_to(&["c"]));
    scene.dead_letter_due("e");
    assert_eq!(
        tail.look(&scene),
        ["accepted for c", "permanent at c: dead_lettered"]
    );
    // Its replay finds it again.
    scene.clock.advance(MINUTE);
    scene.create(NewBulk::replay(scene.all_dead_letters()));
    scene.finish_bulk();
    tail.look(&scene);
    scene.clock.advance(MINUTE);
    scene.deliver_due();
    assert_eq!(tail.look(&scene), ["delivered at c: delivered"]);
    scene.stop();
}

pub fn filters_select_the_entries_of_a_tail(new: NewStore) {
    let mut scene = Scene::new(new);
    let query = |change: fn(&mut TailQuery)| {
        let mut query = TailQuery::default();
        change(&mut query);
        query
    };
    let mut tails = [
        query(|query| query.source = Some("s".to_owned())),
        query(|query| query.source = Some("t".to_owned())),
        query(|query| query.destination = Some("b".to_owned())),
        query(|query| query.destination = Some("nobody".to_owned())),
        query(|query| query.event_type = Some("invoice.*".to_owned())),
        query(|query| query.event_type = Some("invoice".to_owned())),
        query(|query| query.status = Some(DeliveryState::Delivered)),
        query(|query| query.status = Some(DeliveryState::DeadLettered)),
        query(|query| query.event_type = Some("*".to_owned())),
    ]
    .map(|query| Tail::begin(&scene, query));
    let mut typed = event_of("s", "1", &["a", "b"]);
    typed.event_type = Some("invoice.paid".to_owned());
    scene.accept(typed);
    scene.clock.advance(MINUTE);
    scene.deliver_due();
    let found = tails.each_mut().map(|tail| tail.look(&scene).len());
    assert_eq!(found, [3, 0, 2, 0, 3, 0, 2, 0, 3]);
    // An event without a type has none of these.
    scene.accept(event_of("s", "2", &["a"]));
    let found = tails.each_mut().map(|tail| tail.look(&scene).len());
    assert_eq!(found, [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    scene.stop();
}

pub fn a_tail_begins_in_the_past_if_it_is_asked_to(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_to(&["a"]));
    scene.clock.advance(MINUTE);
    let since = scene.now();
    scene.accept(event_to(&["b"]));
    scene.clock.advance(MINUTE);
    scene.deliver_due();
    let mut tail = Tail::of(TailQuery {
        since: Some(since),
        ..TailQuery::default()
    });
    assert_eq!(
        tail.look(&scene),
        ["accepted for b", "delivered at b: delivered"]
    );
    assert!(tail.look(&scene).is_empty());
    scene.stop();
}

pub fn a_tail_that_is_behind_reads_on_and_one_that_misses_attempts_says_so(new: NewStore) {
    const EVENTS: usize = 1_200;
    let mut scene = Scene::new(new);
    let since = scene.now();
    scene.accept_all((0..EVENTS).map(|_| event_to(&["d"])));
    scene.clock.advance(MINUTE);
    let mut past = Tail::of(TailQuery {
        since: Some(since),
        ..TailQuery::default()
    });
    let first = past.page(&scene);
    assert_eq!((first.entries.len(), first.has_more), (1_000, true));
    let second = past.page(&scene);
    assert_eq!((second.entries.len(), second.has_more), (200, false));
    // One that begins now tracks some of those that are due.
    let mut tail = Tail::begin(&scene, TailQuery::default());
    scene.deliver_due();
    let page = tail.page(&scene);
    assert!(
        page.has_gap && page.entries.len() < EVENTS,
        "{}",
        page.entries.len()
    );
    scene.stop();
}
