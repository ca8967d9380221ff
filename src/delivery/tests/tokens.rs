//! Only a claim that brings an attempt spends a token.

use super::*;

/// Counts the tokens that are spent, and does something else while a plan is being made.
struct Counting {
    spent: Arc<AtomicUsize>,
    during_plan: Box<dyn Fn() + Send>,
}

impl Admission for Counting {
    fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        (self.during_plan)();
        if request.in_flight + request.planned > 0 {
            return Err(Refusal::UntilAnAttemptEnds);
        }
        Ok(())
    }

    fn spend(&mut self, _: &Target, _now: Duration) {
        self.spent.fetch_add(1, Ordering::SeqCst);
    }
}

/// A scene, and the number of tokens that are spent in it.
fn counting(during_plan: impl FnOnce(Store) -> Box<dyn Fn() + Send>) -> (Scene, Arc<AtomicUsize>) {
    let (directory, clock, context) = context();
    let spent = Arc::new(AtomicUsize::new(0));
    let admission = Counting {
        spent: Arc::clone(&spent),
        during_plan: during_plan(context.store.clone()),
    };
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    let admission = Box::new(admission);
    let scene = scene_in(directory, clock, context, receiver, transport, admission);
    (scene, spent)
}

#[test]
fn a_claim_that_brings_an_attempt_spends_a_token() {
    let (mut scene, spent) = counting(|_| Box::new(|| {}));
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    assert_eq!(spent.load(Ordering::SeqCst), 1);
    scene.store.stop();
}

#[test]
fn a_claim_that_finds_nothing_spends_no_token() {
    // Another process pauses the destination between the look and the claim.
    let (mut scene, spent) = counting(|store| {
        Box::new(move || {
            store
                .pause_blocking("http://x", "on purpose")
                .expect("it is known");
        })
    });
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 0);
    assert_eq!(deliveries(&scene), [(0, 0)]);
    assert_eq!(spent.load(Ordering::SeqCst), 0);
    scene.store.stop();
}

#[test]
fn a_claim_that_fails_spends_no_token() {
    let (mut scene, spent) = counting(|store| Box::new(move || store.stop()));
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 0);
    assert_eq!(spent.load(Ordering::SeqCst), 0);
}
