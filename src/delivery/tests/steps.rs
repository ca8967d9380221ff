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
fn watched(workers: usize, watch: impl FnOnce(Store) -> Box<dyn FnMut() + Send>) -> Scene {
    let (directory, clock, context) = context_with(|config| config.delivery.workers = workers);
    let store = context.store.clone();
    for _ in 0..workers {
        let accepting = store.accept(intent("http://x", b"{}".to_vec()));
        crate::stop::block_on(accepting).expect("accepted");
    }
    let admission = Box::new(Watching(watch(store)));
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    scene_in(directory, clock, context, receiver, transport, admission)
}

/// How many deliveries were claimed when each attempt began.
fn claimed_at_each_beginning(workers: usize) -> Vec<usize> {
    let (tell, claimed) = channel();
    let mut scene = watched(workers, |store| {
        Box::new(move || {
            let processing = store.all_deliveries(Some(DeliveryState::Processing));
            tell.send(processing.len()).expect("the test waits");
        })
    });
    assert_eq!(scene.dispatcher.tick().claimed, workers);
    scene.store.stop();
    claimed.try_iter().collect()
}

#[test]
fn the_claims_of_a_step_begin_before_the_next_step() {
    let claimed = claimed_at_each_beginning(WORKERS);
    assert_eq!(claimed.len(), WORKERS);
    assert!(claimed[0] < WORKERS, "{} at once", claimed[0]);
    assert_eq!(claimed[WORKERS - 1], WORKERS);
}

#[test]
fn a_turn_of_a_small_pool_takes_one_step_while_clients_write() {
    let few = WORKERS / 3;
    assert_eq!(claimed_at_each_beginning(few), vec![few; few]);
}

#[test]
fn the_claims_of_a_step_stay_in_flight_if_the_next_step_is_refused() {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut scene = watched(WORKERS, |store| {
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
