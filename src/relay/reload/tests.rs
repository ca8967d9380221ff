use super::*;
use crate::config::{Destination, Source};
use crate::store::Affected;

fn config(url: &str) -> Config {
    let mut config = Config::default();
    let to = Destination::new(url.parse().expect("a URL"));
    config.destinations.insert("a".to_owned(), to);
    config.sources.insert("s".to_owned(), Source::to(["a"]));
    config
}

fn report(old: &Config, new: &Config, renewed: &[&str], affected: &[Affected]) -> String {
    let before = old.resolve();
    let after = new.resolve().keeping(&before);
    let changes = Changes::between((old, &before), (new, &after));
    let renewed: Vec<_> = renewed.iter().map(|name| (*name).to_owned()).collect();
    let overridden = Some("api.keys (RELAY_API_KEYS)".to_owned());
    let report = Report::new(&changes, &renewed, (&before, &after), affected, overridden);
    assert!(
        report
            .with_overridden()
            .ends_with("; the environment overrides api.keys (RELAY_API_KEYS)")
    );
    report.text
}

fn affected(pending: i64, is_paused: bool) -> [Affected; 1] {
    [Affected {
        name: "a".to_owned(),
        pending,
        is_paused,
    }]
}

#[test]
fn the_line_names_what_is_added_changed_and_removed() {
    let old = config("https://a.example/");
    assert_eq!(report(&old, &old, &[], &[]), "changes nothing");
    let moved = config("https://b.example/");
    assert_eq!(
        report(&old, &moved, &[], &affected(3, true)),
        "changes destination a (another server, stays paused)"
    );
    // Only the contents of its certificate's file have changed.
    assert_eq!(
        report(&old, &old, &["a"], &affected(0, false)),
        "changes destination a"
    );
    let mut other = Config::default();
    other.retention.delivered = None;
    assert_eq!(
        report(&old, &other, &[], &affected(3, false)),
        "changes retention.delivered; removes destination a (3 pending), source s"
    );
    assert_eq!(
        report(&other, &old, &[], &[]),
        "adds destination a, source s; changes retention.delivered"
    );
    assert_eq!(
        report(&other, &old, &[], &affected(3, true)),
        "adds destination a (stays paused), source s; changes retention.delivered"
    );
    assert_eq!(
        report(&old, &other, &[], &affected(Affected::MAX_COUNTED, false)),
        "changes retention.delivered; removes destination a (10000 or more pending), source s"
    );
}
