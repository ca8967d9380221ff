//! Secrets that handshakes bring.

use std::time::Duration;

use crate::config::Secret;
use crate::stop;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::Scene;
use crate::store::types::{ExpectOutcome, LearnedSecret, MAX_LEARNED_SECRETS};

const WAIT: Duration = Duration::from_secs(600);

impl Scene {
    fn expect(&self, source: &str, is_addition: bool) -> ExpectOutcome {
        let until = self.now().plus(WAIT);
        let outcome = self.operator().expect_secret(source, until, is_addition);
        let outcome = outcome.expect("an outcome");
        if let ExpectOutcome::Until(time) = outcome {
            assert_eq!(time, until);
        }
        outcome
    }

    fn is_expected(&self, source: &str) -> bool {
        let expects = self.store.expects_secret(source, self.now());
        runtime().block_on(expects).expect("a read")
    }

    fn learn(&self, source: &str, secret: &str) -> bool {
        let learned = self.store.learn_secret(source, Secret::new(secret));
        stop::block_on(learned).expect("an outcome")
    }

    fn learned(&self) -> Vec<LearnedSecret> {
        self.store.reader().learned_secrets().expect("a read")
    }

    /// The texts of a source's secrets.
    fn secrets_of(&self, source: &str) -> Vec<String> {
        let learned = self.learned().into_iter();
        learned
            .filter(|learned| learned.source == source)
            .map(|learned| learned.secret.reveal().to_owned())
            .collect()
    }
}

pub fn a_secret_is_learned_once_while_it_is_expected(new: NewStore) {
    let mut scene = Scene::new(new);
    assert!(!scene.is_expected("a") && !scene.learn("a", "early"));
    assert!(matches!(scene.expect("a", false), ExpectOutcome::Until(_)));
    assert!(scene.is_expected("a") && !scene.is_expected("b"));
    assert!(!scene.learn("b", "another source's"));
    scene.restart();
    assert!(scene.is_expected("a"), "a restart forgets nothing");
    assert!(scene.learn("a", "first"));
    assert!(!scene.is_expected("a"));
    assert!(!scene.learn("a", "second") && !scene.learn("a", "first"));
    scene.restart();
    let learned = scene.learned();
    assert_eq!(scene.secrets_of("a"), ["first"]);
    assert_eq!((learned.len(), learned[0].learned_at), (1, scene.now()));
    scene.stop();
}

pub fn an_expectation_ends_with_its_time(new: NewStore) {
    let scene = Scene::new(new);
    scene.expect("a", false);
    scene.clock.advance(Duration::from_millis(599_999));
    assert!(scene.is_expected("a"));
    scene.clock.advance(Duration::from_millis(1));
    assert!(!scene.is_expected("a") && !scene.learn("a", "late"));
    assert!(scene.learned().is_empty());
    scene.stop();
}

pub fn a_source_keeps_a_bounded_number_of_secrets(new: NewStore) {
    let scene = Scene::new(new);
    for number in 0..MAX_LEARNED_SECRETS {
        if number > 0 {
            let outcome = scene.expect("a", false);
            assert_eq!(outcome, ExpectOutcome::HasSecrets(number));
            assert!(!scene.is_expected("a"));
        }
        scene.expect("a", true);
        assert!(scene.learn("a", &number.to_string()));
    }
    assert_eq!(scene.expect("a", true), ExpectOutcome::HasMost);
    assert_eq!(scene.learned().len(), MAX_LEARNED_SECRETS);
    // The same secret again is the same.
    scene.expect("b", false);
    assert!(scene.learn("b", "0"));
    scene.expect("b", true);
    assert!(scene.learn("b", "0"));
    assert_eq!(scene.secrets_of("b"), ["0"]);
    scene.stop();
}

pub fn a_source_forgets_its_own_secrets_only(new: NewStore) {
    let scene = Scene::new(new);
    for (source, secret) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")] {
        scene.expect(source, true);
        assert!(scene.learn(source, secret));
    }
    let ids: Vec<_> = scene.learned().iter().map(|learned| learned.id).collect();
    let forget = |source: &str, ids| {
        let forgotten = scene.operator().forget_secrets(source, ids);
        forgotten.expect("a number")
    };
    assert_eq!(forget("b", Some(vec![ids[0], ids[1]])), 0);
    assert_eq!(forget("a", Some(vec![ids[0], ids[0], ids[2]])), 2);
    assert_eq!(scene.secrets_of("a"), ["2"]);
    scene.expect("a", true);
    assert_eq!(forget("a", None), 2, "the secret and the expectation");
    assert!(!scene.is_expected("a"));
    assert_eq!(forget("a", None), 0);
    assert_eq!(scene.secrets_of("b"), ["1"]);
    scene.stop();
}
