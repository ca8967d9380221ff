//! Commands that need root, systemd, another machine or minutes: the scripts that run them, and the
//! reasons of those that nothing runs.

use std::collections::BTreeSet;

use super::blocks::{Block, blocks, text_of};

/// Scripts that run examples of docs/install.md in clean roots, by heading and number.
const INSTALLING: [&str; 2] = ["packaging/test-deb", "packaging/test-packages"];

/// Scripts that run commands as the documents have them, save for options that pin or silence.
const SCRIPTS: [&str; 2] = [".ci/run", "packaging/test"];

/// Sections whose blocks a test of their own runs, and compares the answers.
pub const SECTIONS: [(&str, &str, &str); 2] = [
    (
        "docs/sources.md",
        "Watch it",
        "tests/it/providers/watched.rs",
    ),
    (
        "docs/postgres.md",
        "From a file, and back",
        "tests/it/moves.rs",
    ),
];

/// Commands that no test runs, and why.
pub const NOT_RUN: &[(&str, &str)] = &[
    (
        ".ci/run",
        "it runs these tests; it is what runs for each change",
    ),
    (
        "cargo test --all-features --test it durability",
        "a part of `cargo test --all-features`",
    ),
    (
        "cargo test --features delivery --test torture",
        "a part of `cargo test --all-features`",
    ),
    (
        "RELAY_TORTURE=long cargo test --features delivery --test torture -- --nocapture",
        "half an hour; the short form is a part of `cargo test --all-features`",
    ),
    (
        "RELAY_TORTURE_SEED=42 cargo test --features delivery --test torture crashes",
        "a part of `cargo test --all-features`, with a seed",
    ),
    (
        "RELAY_SOAK=10m cargo test --release --features delivery --test torture -- \
         --nocapture soak",
        "ten minutes and a release build; the short form has a soak of seconds",
    ),
    (
        "cargo +nightly fuzz run requests -- -max_total_time=600 -dict=fuzz/requests.dict",
        "ten minutes, a nightly compiler and cargo-fuzz",
    ),
    ("cargo bench --bench ingest", BENCHMARK),
    (
        "cargo bench --bench delivery --features delivery",
        BENCHMARK,
    ),
    ("cargo bench --bench claim --features delivery", BENCHMARK),
    (
        "cargo bench --bench footprint --features delivery",
        BENCHMARK,
    ),
    (
        "cargo bench --bench scenarios --features delivery",
        BENCHMARK,
    ),
    ("cargo bench --bench engines --all-features", BENCHMARK),
    ("cargo bench --bench scale --features delivery", BENCHMARK),
    (
        "cargo run --release --example receiver",
        "a release build; the receiver of these tests is the same code",
    ),
    (
        "cargo build --release --locked --features delivery",
        "a release build; packaging/build makes one with the same profile",
    ),
    (
        "relay migrate --to postgres://relay@db/relay",
        "another machine's server; tests/it/moves.rs moves to one of its own",
    ),
    ("dnf install ./relay-*.x86_64.rpm", RPM),
    ("systemctl enable --now relay", RPM),
    ("podman load -i relay-*-amd64.oci.tar", IMAGE),
    (
        "podman run -d --name relay -p 8080:8080 -v relay-data:/data \\\n  \
         -v ./relay.toml:/etc/relay/relay.toml:ro relay:0.1.0",
        IMAGE,
    ),
    ("podman exec relay relay stats", IMAGE),
    (
        "packaging/build",
        "packaging/test runs it with --check-reproducible, which does all of it twice",
    ),
    (
        "packaging/test-deb target/package/out/relay_*_amd64.deb",
        "packaging/test runs it, with a number of upgrades",
    ),
];

const BENCHMARK: &str = "minutes on a quiet machine; clippy compiles it for each change";
const RPM: &str = "no clean Fedora: packaging/test-packages installs the rpm by rpm itself";
const IMAGE: &str = "no container engine: packaging/test-packages enters the image as one would";

/// The commands that scripts run.
pub fn run_by_scripts() -> BTreeSet<String> {
    let examples = blocks(&text_of("docs/install.md"));
    let mut found = BTreeSet::new();
    for script in INSTALLING {
        let text = text_of(script);
        let used = documented(&text);
        assert!(!used.is_empty(), "{script} runs examples");
        for (heading, number) in used {
            let is_it = |block: &&Block| block.heading == heading && block.number == number;
            let block = examples.iter().find(is_it);
            let block = block.unwrap_or_else(|| panic!("{script}: no example {heading} {number}"));
            found.extend(block.commands.iter().cloned());
        }
    }
    for script in SCRIPTS {
        found.extend(text_of(script).lines().map(plain));
    }
    found
}

/// The examples that a script takes from docs/install.md: `documented "HEADING" NUMBER`.
fn documented(script: &str) -> Vec<(String, usize)> {
    let calls = script.split("documented ").skip(1);
    calls
        .filter_map(|rest| {
            let (heading, rest) = match rest.strip_prefix('"') {
                Some(rest) => rest.split_once('"')?,
                None => rest.split_once(' ')?,
            };
            let digits = rest.trim_start().chars().take_while(char::is_ascii_digit);
            Some((heading.to_owned(), digits.collect::<String>().parse().ok()?))
        })
        .collect()
}

/// A line of a script as a document would have it.
fn plain(line: &str) -> String {
    let words = line.split_whitespace();
    let words = words.filter(|word| !matches!(*word, "--locked" | "--quiet"));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn examples_that_a_script_takes_are_found() {
    let script = "run_documented \"Debian and Ubuntu\" 2\nrun_documented Upgrading 2\n\
        commands=$(documented \"Any Linux: the binary\" 1 | sed x)\n\
        commands=$(documented \"$@\")\n";
    let found = documented(script);
    let found: Vec<_> = found
        .iter()
        .map(|(heading, n)| (heading.as_str(), *n))
        .collect();
    assert_eq!(
        found,
        [
            ("Debian and Ubuntu", 2),
            ("Upgrading", 2),
            ("Any Linux: the binary", 1)
        ]
    );
}
