//! Invariants that are written as absences: easy to break without noticing.

use crate::source::Source;
use crate::{assert_none, files};

/// Lines of code that hold one of `needles`, as `file:line`.
fn lines_with(below: &str, needles: &[&str], is_exempt: impl Fn(&str) -> bool) -> Vec<String> {
    files(below, ".rs")
        .iter()
        .filter(|(name, _)| !is_exempt(name))
        .flat_map(|(name, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| {
                    !line.trim_start().starts_with("//") && needles.iter().any(|n| line.contains(n))
                })
                .map(move |(at, line)| format!("{name}:{}: {}", at + 1, line.trim()))
        })
        .collect()
}

/// Whether a file below `src` holds tests alone.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

#[test]
fn the_rules_see_the_files() {
    assert!(files("src", ".rs").len() > 40);
    assert!(!lines_with("src", &["feature = \""], |_| false).is_empty());
}

#[test]
fn features_are_chosen_in_five_files() {
    let found = lines_with("src", &["feature = \""], |name| {
        let gates = [
            "src/lib.rs",
            "src/compiled_level.rs",
            "src/delivery/levels/mod.rs",
            "src/http/admin/mod.rs",
            "src/store/mod.rs",
        ];
        gates.contains(&name)
    });
    assert_none(
        &found,
        "cfg(feature) stands in lib.rs, compiled_level.rs, delivery/levels/mod.rs, \
         http/admin/mod.rs, store/mod.rs only",
    );
}

#[test]
fn http_and_delivery_know_nothing_of_each_other() {
    let in_http = lines_with("src/http", &["delivery::", "crate::{", "ureq"], |_| false);
    assert_none(&in_http, "http knows nothing of delivery");
    let in_delivery = lines_with(
        "src/delivery",
        &["crate::http", "crate::{", "hyper::", "tokio"],
        |_| false,
    );
    assert_none(
        &in_delivery,
        "delivery knows nothing of http, and has no async runtime",
    );
}

#[test]
fn only_the_clock_asks_for_the_time() {
    let found = lines_with(
        "src",
        &["SystemTime::now", "Instant::now", "Timestamp::now"],
        |name| {
            // Tests of the store wait for its writer for real; a deadline of tokio's
            // timers is in tokio's own time.
            let exempt = [
                "src/clock/system.rs",
                "src/store/sqlite/tests/readiness.rs",
                "src/store/sqlite/tests/writer.rs",
                "src/http/request_context.rs",
                "src/http/server/connection_slots.rs",
            ];
            exempt.contains(&name)
        },
    );
    assert_none(&found, "only clock/system.rs asks the system for the time");
}

#[test]
fn the_model_is_pure() {
    let found = lines_with(
        "src/model",
        &[
            "crate::store",
            "crate::http",
            "std::fs",
            "std::thread",
            "rand::",
        ],
        |_| false,
    );
    assert_none(&found, "model does no I/O");
}

#[test]
fn the_database_file_is_never_opened_by_hand() {
    let found = lines_with(
        "src",
        &[
            "File::open",
            "File::create",
            "OpenOptions",
            "fs::read(",
            "fs::write(",
        ],
        |name| {
            // Two open the lock file. The other makes the database: with `create_new`, and so
            // before anybody can have a lock on it. `relay send` and `relay match` read a payload,
            // in a process that holds no lock; `relay init` and `relay export` write a file that is
            // new, and `relay import` reads one that begins as no database does. Backups and copies
            // of them are files of their own; a directory is opened to be synced.
            // ACME has a directory of its own. Settings name keys and certificates.
            let exempt = [
                "src/acme/files.rs",
                "src/cli/export.rs",
                "src/cli/import.rs",
                "src/cli/init/mod.rs",
                "src/cli/payload_file.rs",
                "src/named_file.rs",
                "src/store/sqlite/backup/partial.rs",
                "src/store/sqlite/backup/verify.rs",
                "src/store/sqlite/lock_file/lock.rs",
                "src/store/sqlite/lock_file/record.rs",
                "src/store/sqlite/paths.rs",
                "src/store/sqlite/private.rs",
                "src/store/sqlite/restore/prepare.rs",
            ];
            exempt.contains(&name) || is_test(name)
        },
    );
    assert_none(
        &found,
        "opening and closing the database file would drop SQLite's locks",
    );
    let opens = [
        "OpenOptions::new",
        "File::open",
        "File::create",
        "fs::read(",
        "fs::write(",
    ];
    let only = |needles: &[&str]| {
        lines_with("src/store", needles, |name| {
            name != "src/store/sqlite/private.rs"
        })
    };
    assert_eq!(only(&opens).len(), 1, "it opens one file");
    assert_eq!(only(&["create_new(true)"]).len(), 1, "and only a new one");
}

#[test]
fn every_suppressed_lint_has_a_reason() {
    for (name, text) in ["src", "tests", "examples", "benches"]
        .iter()
        .flat_map(|at| files(at, ".rs"))
    {
        for attribute in ["allow(", "expect("] {
            for (at, _) in text
                .match_indices(&format!("#[{attribute}"))
                .chain(text.match_indices(&format!("#![{attribute}")))
            {
                let end = text[at..].find(")]").map_or(text.len(), |end| at + end);
                assert!(
                    text[at..end].contains("reason ="),
                    "{name}: {}",
                    &text[at..end]
                );
            }
        }
    }
}

#[test]
fn a_newer_compilers_warnings_stop_no_install() {
    let manifest = include_str!("../../Cargo.toml");
    let lints = manifest.split("[lints").skip(1).map(|section| {
        let end = section.find("\n[").unwrap_or(section.len());
        &section[..end]
    });
    // `forbid` is for a single lint, whose findings don't change.
    let found: Vec<_> = lints
        .flat_map(str::lines)
        .filter(|line| line.contains("\"deny\""))
        .map(str::to_owned)
        .collect();
    assert!(manifest.contains("[lints.rust]"));
    assert_none(&found, "lints warn; CI denies warnings");
}

#[test]
fn one_cryptographic_library_is_locked() {
    let lock = include_str!("../../Cargo.lock");
    let rules = include_str!("../../deny.toml");
    assert!(lock.contains("\nname = \"ring\"\n"));
    for name in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl",
        "openssl-sys",
        "native-tls",
    ] {
        let package = format!("\nname = \"{name}\"\n");
        assert!(!lock.contains(&package), "{name} stands beside ring");
        let rule = format!("{{ crate = \"{name}\"");
        assert!(rules.contains(&rule), "deny.toml refuses {name}");
    }
}

#[test]
fn modules_are_addressed_from_the_crates_root() {
    let found: Vec<_> = files("src", ".rs")
        .iter()
        .flat_map(|(name, text)| grandparents(text).map(move |line| format!("{name}:{line}")))
        .collect();
    assert_none(&found, "`crate::` leads further than `super::super::`");
}

/// The lines that use `super::super`.
pub fn grandparents(text: &str) -> impl Iterator<Item = usize> {
    let tokens = Source::of(text).tokens;
    let at = (2..tokens.len()).filter(|&at| {
        tokens[at].is("super") && tokens[at - 1].is("::") && tokens[at - 2].is("super")
    });
    let lines: Vec<_> = at.map(|at| tokens[at].lines.0).collect();
    lines.into_iter()
}

#[test]
fn a_grandparent_is_found() {
    let text = "use super::a;\nuse super::super::b;\n// super::super::c\n";
    assert_eq!(grandparents(text).collect::<Vec<_>>(), [2]);
}
