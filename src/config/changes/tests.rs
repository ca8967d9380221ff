use super::*;
use crate::config::{Destination, Ordering, RateLimit, Secret, Source};

fn config() -> Config {
    let mut config = Config::default();
    let to = Destination::new("https://a.example/hook".parse().expect("a URL"));
    config.destinations.insert("a".to_owned(), to);
    config.sources.insert("s".to_owned(), Source::to(["a"]));
    config
}

fn changes(change: impl FnOnce(&mut Config)) -> Changes {
    let old = config();
    let mut new = config();
    change(&mut new);
    let before = old.resolve();
    let after = new.resolve().keeping(&before);
    Changes::between((&old, &before), (&new, &after))
}

#[test]
fn additions_changes_and_removals_are_named() {
    assert_eq!(changes(|_| {}), Changes::default());
    let found = changes(|config| {
        let to = config.destinations.remove("a").expect("a destination");
        config.destinations.insert("b".to_owned(), to);
        config.sources.insert("s".to_owned(), Source::to(["b"]));
        config.retention.delivered = None;
    });
    assert_eq!(found.destinations.added, ["b"]);
    assert_eq!(found.destinations.removed, ["a"]);
    assert_eq!(found.sources.changed, ["s"]);
    assert_eq!(found.keys, ["retention.delivered"]);
    // A secret that was read anew is a change, too.
    let found = changes(|config| {
        let to = config.destinations.get_mut("a").expect("a destination");
        to.secrets = vec![Secret::new("whsec_x")];
    });
    assert_eq!(found.destinations.changed, ["a"]);
    // A default counts for those that it stands for.
    let found = changes(|config| {
        config.delivery.defaults.rate_limit = Some(RateLimit {
            per_second: 1.0,
            burst: 1,
        });
    });
    assert_eq!(found.destinations.changed, ["a"]);
    assert_eq!(found.keys, ["delivery.defaults"]);
}

#[test]
fn an_order_changes_the_sources_that_send_there_and_no_others() {
    let ordered = |config: &mut Config, name: &str| {
        let mut to = Destination::new("https://of.example/hook".parse().expect("a URL"));
        to.ordering = Some(Ordering::by("all"));
        config.destinations.insert(name.to_owned(), to);
    };
    let found = changes(|config| ordered(config, "of"));
    assert_eq!(found.destinations.added, ["of"]);
    assert_eq!(found.sources, Names::default());
    let found = changes(|config| ordered(config, "a"));
    assert_eq!(found.sources.changed, ["s"]);
}

#[test]
fn equal_policies_stay_the_same_ones() {
    let before = config().resolve();
    let mut new = config();
    let to = Destination::new("https://b.example".parse().expect("a URL"));
    new.destinations.insert("b".to_owned(), to);
    let after = new.resolve().keeping(&before);
    let is_same = |name: &str| Arc::ptr_eq(before.destination(name), after.destination(name));
    assert!(is_same("a") && is_same("https://ad.hoc"));
    assert!(!is_same("b"));
    let source = |config: &Resolved| Arc::clone(config.source("s").expect("a source"));
    assert!(Arc::ptr_eq(&source(&before), &source(&after)));
}

#[test]
fn a_destination_moves_with_its_origin_and_not_with_its_path() {
    let policy = |url: &str| {
        let mut config = config();
        config.destinations.get_mut("a").expect("one").url = url.parse().expect("a URL");
        Arc::clone(config.resolve().destination("a"))
    };
    let old = policy("https://a.example/hook");
    assert!(!policy("https://a.example:443/other").has_moved(&old));
    assert!(policy("https://a.example:8443/hook").has_moved(&old));
    assert!(policy("http://a.example/hook").has_moved(&old));
    assert!(policy("https://b.example/hook").has_moved(&old));
}

#[test]
fn settings_of_the_start_are_told_by_their_effect_and_not_by_their_spelling() {
    let old = config();
    let mut new = config();
    new.delivery.level = Some(crate::COMPILED_LEVEL);
    new.database.path = "./relay.db".into();
    new.server.request_timeout *= 2;
    assert_eq!(fixed_settings(&old, &new), [""; 0]);
    new.server.listen = "127.0.0.1:1".parse().expect("an address");
    new.delivery.workers = 1;
    assert_eq!(
        fixed_settings(&old, &new),
        ["server.listen", "delivery.workers"]
    );
}
