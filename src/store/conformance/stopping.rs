//! The end of a store, and writes of other processes beside it.

use crate::store::StoreError;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{Scene, event, try_accept};
use crate::store::types::Unready;

pub fn a_stop_commits_earlier_writes_and_refuses_later_ones(new: NewStore) {
    const EVENTS: usize = 64;
    let mut scene = Scene::new(new);
    assert_eq!(scene.store.readiness(), Ok(()));
    let accepted = std::thread::scope(|scope| {
        let store = &scene.store;
        let accept = move || try_accept(store, event("d"));
        let threads: Vec<_> = (0..EVENTS).map(|_| scope.spawn(accept)).collect();
        scene.store.begin_stop();
        let answers = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        answers.collect::<Vec<_>>()
    });
    scene.stop();
    let acknowledged = accepted.iter().filter(|answer| answer.is_ok()).count();
    let is_right = |answer: &Result<_, _>| matches!(answer, Ok(_) | Err(StoreError::Stopped));
    assert!(accepted.iter().all(is_right), "{accepted:?}");
    let later = scene.try_accept(event("d"));
    assert!(matches!(later, Err(StoreError::Stopped)), "{later:?}");
    assert!(matches!(scene.store.tidy_up(), Err(StoreError::Stopped)));
    assert_eq!(scene.store.readiness(), Err(Unready::Ended));
    scene.restart();
    assert_eq!(scene.store.readiness(), Ok(()));
    assert_eq!(
        scene.size().0,
        acknowledged,
        "acknowledged ones, and no others"
    );
    scene.stop();
}

pub fn pauses_and_resumes_are_stored_and_announced(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event("d"));
    assert!(scene.operator().pause("d", "moving").expect("paused"));
    assert!(!scene.operator().pause("d", "again").expect("an answer"));
    let paused = |scene: &Scene| {
        let stats = scene.operator().stats().expect("a read");
        stats[0].paused.clone()
    };
    assert_eq!(paused(&scene).as_deref(), Some("moving"));
    scene.restart();
    assert_eq!(paused(&scene).as_deref(), Some("moving"));
    let destination = scene.destination("d");
    let backlog = |scene: &Scene| {
        let mut found = scene
            .store
            .reader()
            .due([destination].into_iter(), scene.now(), 1);
        let found = found.as_mut().expect("a read").pop();
        found.expect("an answer").expect("it is stored")
    };
    assert!(backlog(&scene).is_paused);
    assert!(scene.operator().resume("d").expect("resumed"));
    assert!(!backlog(&scene).is_paused);
    assert_eq!(paused(&scene), None);
    // A destination can be paused before anything was sent to it.
    assert!(scene.operator().pause("new", "early").expect("paused"));
    assert!(scene.knows("new"));
    assert!(!scene.operator().resume("unknown").expect("an answer"));
    scene.stop();
}
