//! A commit that takes several steps.

use super::*;

/// More than one step takes while clients write.
const WORKERS: usize = 300;

/// Calls a function with each attempt that begins.
struct Watching(Box<dyn FnMut() + Send>);

impl Admission for Watching {
    fn spend(&mut self, _: &Target, _now: Duration) {
        (self.0)();
    }
}

/// A scene with a delivery due for each worker, just accepted from clients.
fn watched(watch: impl FnOnce(Store) -> Box<dyn FnMut() + Send>) -> Scene {
    let (directory, clock, context) = context_with(|config| config.delivery.workers = WORKERS);
    let store = context.store.clone();
    for _ in 0..WORKERS {
        let accepting = store.accept(intent("http://x", b"{}".to_vec()));
        crate::stop::block_on(accepting).expect("accepted");
    }
    let admission = Box::new(Watching(watch(store)));
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    scene_in(directory, clock, context, receiver, transport, admission)
}

#[test]
fn the_claims_of_a_step_begin_before_the_next_step() {
    let claimed = Arc::new(Mutex::new(Vec::new()));
    let mut scene = watched(|store| {
        let claimed = Arc::clone(&claimed);
        Box::new(move || {
            let processing = store.all_deliveries(Some(DeliveryState::Processing));
            claimed.lock().expect("no panics").push(processing.len());
        })
    });
    assert_eq!(scene.dispatcher.tick().claimed, WORKERS);
    let claimed = claimed.lock().expect("no panics");
    assert_eq!(claimed.len(), WORKERS);
    assert!(claimed[0] < WORKERS, "{} at once", claimed[0]);
    assert_eq!(claimed[WORKERS - 1], WORKERS);
    scene.store.stop();
}

#[test]
fn the_claims_of_a_step_stay_in_flight_if_the_next_step_is_refused() {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut scene = watched(|store| {
        let begun = Arc::clone(&begun);
        Box::new(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            store.stop();
        })
    });
    assert_eq!(scene.dispatcher.tick().settled, 0);
    let begun = begun.load(Ordering::SeqCst);
    assert!(0 < begun && begun < WORKERS, "{begun}");
    assert!(!scene.dispatcher.is_idle());
    let mut attempted = 0;
    while attempted < begun {
        scene.worked();
        scene.dispatcher.tick();
        attempted = scene.dispatcher.unsettled();
    }
    assert_eq!(attempted, begun, "each is attempted once");
}
