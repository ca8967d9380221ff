//! Tests wait for what they need, and not for a while.

use std::collections::BTreeMap;

use crate::source::{Source, Token};
use crate::{code_of_src, files};

/// Functions that let time pass.
const PASSING: [&str; 2] = ["sleep", "park_timeout"];

/// The calls that may stay in tests, by file, and their reason.
const REASONS: [(&str, usize, &str); 12] = [
    (
        "src/store/sqlite/tests/files.rs",
        1,
        "nobody tells who waits for SQLite's lock",
    ),
    ("src/store/sqlite/tests/support.rs", 1, "polls a condition"),
    ("tests/console/webdriver.rs", 1, "polls a browser"),
    (
        "tests/it/acme.rs",
        2,
        "the authority's clock is the system's; nothing tells that the agent waits on",
    ),
    (
        "tests/it/alerts.rs",
        1,
        "a server of its own, by the system's clock, sends nothing",
    ),
    (
        "tests/it/bad_receivers.rs",
        2,
        "receivers that never answer",
    ),
    (
        "tests/it/proxy_failures.rs",
        1,
        "a proxy that answers slowly",
    ),
    ("tests/it/stops.rs", 1, "a timer is under test"),
    ("tests/it/support/mod.rs", 1, "polls a condition"),
    (
        "tests/it/support/raw.rs",
        1,
        "a receiver that answers slowly",
    ),
    ("tests/it/tls.rs", 1, "the time of a request is under test"),
    (
        "tests/torture/main.rs",
        1,
        "a fault takes effect in real time",
    ),
];

/// Whether three tokens call such a function. A definition is no call.
fn is_call(three: &[Token]) -> bool {
    let is_passing = PASSING.iter().any(|name| three[1].is(name));
    is_passing && three[2].is("(") && !three[0].is("fn")
}

fn calls(tokens: &[Token]) -> usize {
    tokens.windows(3).filter(|three| is_call(three)).count()
}

/// The calls in tests, by file.
fn calls_in_tests() -> BTreeMap<String, usize> {
    let code: BTreeMap<String, Vec<Token>> = code_of_src().into_iter().collect();
    let all = files("src", ".rs").into_iter().chain(files("tests", ".rs"));
    let in_tests = all.map(|(name, text)| {
        let in_code = code.get(&name).map_or(0, |tokens| calls(tokens));
        let in_all = calls(&Source::of(&text).tokens);
        (name, in_all - in_code)
    });
    in_tests.filter(|(_, calls)| *calls > 0).collect()
}

#[test]
fn a_test_waits_for_a_condition_and_never_for_a_while() {
    let allowed = REASONS.map(|(name, calls, _)| (name.to_owned(), calls));
    assert_eq!(
        calls_in_tests(),
        BTreeMap::from(allowed),
        "a condition, a barrier or a fake clock instead; or a reason in tests/tidy/waits.rs"
    );
}

#[test]
fn a_call_that_lets_time_pass_is_found() {
    for text in [
        "fn a() { std::thread::sleep(TIME); }",
        "fn a() { thread::park_timeout(TIME) }",
        "async fn a() { tokio::time::sleep(TIME).await; }",
        "use std::thread::sleep; fn a() { sleep(TIME) }",
    ] {
        assert_eq!(calls(&Source::of(text).tokens), 1, "{text}");
    }
    for text in [
        "fn sleep(time: Duration) {}",
        "// sleep(TIME)",
        "let a = \"sleep(1)\";",
    ] {
        assert_eq!(calls(&Source::of(text).tokens), 0, "{text}");
    }
}
