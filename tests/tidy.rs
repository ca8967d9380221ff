//! The code map's rules, checked: an invariant that is written as an absence is easy to break
//! without noticing.

use std::fs;
use std::path::{Path, PathBuf};

fn files(below: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(below), ending, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).expect("below the root");
            let text = fs::read_to_string(&path).expect("text");
            (name.to_string_lossy().into_owned(), text)
        })
        .collect()
}

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

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn the_rules_see_the_files() {
    assert!(files("src", ".rs").len() > 40);
    assert!(!lines_with("src", &["feature = \""], |_| false).is_empty());
}

#[test]
fn features_are_chosen_in_two_files() {
    let found = lines_with("src", &["feature = \""], |name| {
        name == "src/lib.rs" || name == "src/delivery/levels/mod.rs"
    });
    assert_none(
        &found,
        "cfg(feature) stands in lib.rs and delivery/levels/mod.rs only",
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
fn sql_stands_in_its_rooms() {
    let sql = [
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        "rusqlite",
        "PRAGMA",
    ];
    let found = lines_with("src", &sql, |name| {
        name.starts_with("src/store/")
            || name.starts_with("src/delivery/ops/")
            // Tests look at rows, and set scenes with them.
            || is_test(name)
    });
    assert_none(&found, "SQL stands in store/ and delivery/ops/ only");
}

#[test]
fn only_the_clock_asks_for_the_time() {
    let found = lines_with(
        "src",
        &["SystemTime::now", "Instant::now", "Timestamp::now"],
        |name| {
            // The store's test of the writer's idle second waits for real; a deadline of tokio's
            // timers is in tokio's own time.
            let exempt = [
                "src/clock.rs",
                "src/store/sqlite/tests.rs",
                "src/http/request_context.rs",
                "src/http/server/connection_slots.rs",
            ];
            exempt.contains(&name)
        },
    );
    assert_none(&found, "only clock.rs asks the system for the time");
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
            // One opens the lock file. The other makes the database: with `create_new`, and so before
            // anybody can have a lock on it.
            let exempt = ["src/store/sqlite/lock.rs", "src/store/sqlite/private.rs"];
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
    let manifest = include_str!("../Cargo.toml");
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
fn files_stay_readable() {
    let found: Vec<_> = files("src", ".rs")
        .iter()
        .filter(|(_, text)| text.lines().count() > 600)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert_none(&found, "a file of more than 600 lines wants splitting");
}

/// The Markdown documents, by their path from the root.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root).expect("the root");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_markdown = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let mut found: Vec<_> = paths
        .filter(is_markdown)
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy();
            (name.into_owned(), fs::read_to_string(&path).expect("text"))
        })
        .collect();
    found.extend(files("docs", ".md"));
    found.extend(files("tests", ".md"));
    assert!(found.len() > 5, "the documents are found");
    found
}

/// A document's lines outside of code blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The parts of a line in backticks, and the line without them.
fn code_spans(line: &str) -> (Vec<&str>, String) {
    let parts = || line.split('`');
    (
        parts().skip(1).step_by(2).collect(),
        parts().step_by(2).collect(),
    )
}

/// The targets of a line's links.
fn links(line: &str) -> Vec<String> {
    let (_, line) = code_spans(line);
    let targets = line.split("](").skip(1);
    targets
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors that a document's headings have on a forge: in lower case, without punctuation, with
/// hyphens for blanks, and numbered where a heading comes again.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = heading.chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let mut names = std::iter::once(anchor.clone()).chain(again);
        let free = names.find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// The file and the anchor that a link leads to; none if it leads out of the repository.
fn target(from: &str, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let from = root.join(from);
    let path = if path.is_empty() {
        from
    } else {
        from.with_file_name(path)
    };
    Some((path, anchor))
}

#[test]
fn links_of_documents_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for (name, text) in documents() {
        for (at, line) in prose(&text) {
            for link in links(line) {
                let Some((path, anchor)) = target(&name, &link) else {
                    continue;
                };
                followed += 1;
                let leads = anchor.map_or_else(
                    || path.exists(),
                    |anchor| {
                        fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(&anchor))
                    },
                );
                if !leads {
                    broken.push(format!("{name}:{at}: {link}"));
                }
            }
        }
    }
    assert!(followed > 0, "links are found");
    assert_none(&broken, "a link leads to nothing");
}

/// A document that names a file is true only for as long as the file is there.
#[test]
fn files_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src/", "tests/", "benches/", "docs/", "examples/", "fuzz/"];
    let mut gone = Vec::new();
    let mut named = 0;
    for (name, text) in documents() {
        for (at, line) in prose(&text) {
            for span in code_spans(line).0 {
                let is_path = folders.iter().any(|folder| span.starts_with(folder))
                    && !span.contains(|c: char| c.is_whitespace() || "*{".contains(c));
                named += usize::from(is_path);
                if is_path && !root.join(span).exists() {
                    gone.push(format!("{name}:{at}: {span}"));
                }
            }
        }
    }
    assert!(named > 0, "files are named");
    assert_none(&gone, "a document names a file that isn't there");
}

/// The files and folders that the tree in docs/architecture.md shows. A line begins with names; one
/// that begins with a folder is followed by what is in it, two columns further right.
fn tree(text: &str) -> Vec<String> {
    let begin = text.find("\nsrc/\n").expect("the tree begins with src/");
    let end = text[begin..].find("\n```").expect("the tree ends");
    let mut folders: Vec<(usize, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text[begin..begin + end].lines() {
        let indent = line.len() - line.trim_start().len();
        while folders.last().is_some_and(|(outer, _)| *outer >= indent) {
            folders.pop();
        }
        let within = folders.last().map_or("", |(_, path)| path).to_owned();
        let endings = ["/", ".rs", ".sql", ".yaml"];
        let is_name = |word: &&str| endings.iter().any(|ending| word.ends_with(ending));
        let names = line.split_whitespace().take_while(is_name);
        let paths: Vec<String> = names.map(|name| format!("{within}{name}")).collect();
        folders.extend(
            paths
                .first()
                .filter(|path| path.ends_with('/'))
                .map(|path| (indent, path.clone())),
        );
        found.extend(paths);
    }
    found
}

#[test]
fn the_tree_of_the_architecture_shows_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = tree(include_str!("../docs/architecture.md"));
    assert!(shown.contains(&"src/store/sqlite/writer.rs".to_owned()));
    let gone: Vec<_> = shown
        .into_iter()
        .filter(|path| !root.join(path).exists())
        .collect();
    assert_none(&gone, "docs/architecture.md shows a file that isn't there");
}

/// The words of a text that begin so, and go on in lower case or in upper case.
fn names_with(text: &str, prefix: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let mut names: Vec<_> = words
        .filter(|word| word.len() > prefix.len() && word.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn documents_have_every_key_variable_and_metric() {
    let configuration = include_str!("../docs/configuration.md");
    let operating = include_str!("../docs/operating.md");
    let keys: Vec<&str> = include_str!("../relay.toml")
        .lines()
        .filter_map(|line| Some(line.trim_start_matches(['#', ' ']).split_once(" = ")?.0))
        .filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    let variables = names_with(include_str!("../src/config/load.rs"), "RELAY_");
    let (metrics, _) = include_str!("../src/ops/metrics.rs")
        .split_once("#[cfg(test)]")
        .expect("its tests stand last");
    let metrics = names_with(metrics, "relay_");
    assert!(keys.len() > 30 && variables.len() > 8 && metrics.len() > 15);
    let is_key = |key: &str| {
        let ends = [format!("`{key}`"), format!(".{key}`")];
        ends.iter().any(|end| configuration.contains(end))
    };
    let mut missing: Vec<_> = keys
        .into_iter()
        .filter(|key| !is_key(key))
        .map(|key| format!("docs/configuration.md: {key}"))
        .collect();
    missing.extend(
        variables
            .iter()
            .filter(|name| !configuration.contains(&format!("`{name}`")))
            .map(|name| format!("docs/configuration.md: {name}")),
    );
    missing.extend(
        metrics
            .iter()
            .filter(|name| !operating.contains(&format!("`{name}`")))
            .map(|name| format!("docs/operating.md: {name}")),
    );
    assert_none(&missing, "a document lacks a name");
}

#[test]
fn log_lines_that_operators_look_for_are_written() {
    let operating = include_str!("../docs/operating.md");
    let (_, lines) = operating
        .split_once("### Lines worth knowing")
        .expect("the section is there");
    let quoted: Vec<&str> = lines
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(quoted, _)| quoted)
        .collect();
    assert!(quoted.len() > 8, "the lines are found");
    let sources: Vec<String> = files("src", ".rs")
        .into_iter()
        .map(|(_, text)| {
            text.replace("\\\n", "")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let unknown: Vec<_> = quoted
        .into_iter()
        .filter(|quoted| !sources.iter().any(|text| text.contains(quoted.trim_end())))
        .map(str::to_owned)
        .collect();
    assert_none(&unknown, "nothing logs this line of docs/operating.md");
}

/// The columns that a line may have; what it links to doesn't count.
const COLUMNS: usize = 100;

#[test]
fn lines_of_documents_end_at_100_columns() {
    let mut long = Vec::new();
    for (name, text) in documents() {
        // The entries of a change log are for tools, too.
        if name == "CHANGELOG.md" {
            continue;
        }
        for (at, line) in prose(&text).filter(|(_, line)| !line.starts_with(['|', '!'])) {
            let targets: usize = links(line).iter().map(|link| link.chars().count()).sum();
            let columns = line.chars().count() - targets;
            if columns > COLUMNS {
                long.push(format!("{name}:{at}: {columns} columns"));
            }
        }
    }
    assert_none(
        &long,
        "a line ends at 100 columns, but for tables, links and code",
    );
}

#[test]
fn the_readme_is_read_in_a_minute() {
    let lines = include_str!("../README.md").lines().count();
    assert!(
        lines <= 120,
        "README.md has {lines} lines, and may have 120"
    );
}

/// A sentence has a subject: one that begins so makes its reader look for it.
#[test]
fn no_sentence_of_a_document_is_a_riddle() {
    let beginnings = [
        "What ",
        "Who ",
        "Whoever ",
        "Whatever ",
        "So many ",
        "As many ",
        "Those ",
    ];
    let mut riddles = Vec::new();
    for (name, text) in documents() {
        if name == "CHANGELOG.md" {
            continue;
        }
        for (at, line) in prose(&text) {
            let (_, line) = code_spans(line);
            let found = beginnings.iter().filter_map(|begin| line.find(begin));
            for begin in found {
                let sentence = &line[begin..];
                let end = sentence.find(['.', ':', ';', '|', '?']);
                if end.is_none_or(|end| !sentence[end..].starts_with('?')) {
                    riddles.push(format!("{name}:{at}: {sentence}"));
                }
            }
        }
    }
    assert_none(&riddles, "a sentence begins with its subject");
}

#[test]
fn bullets_of_documents_have_two_lines_at_most() {
    let mut long = Vec::new();
    for (name, text) in documents() {
        if name == "CHANGELOG.md" {
            continue;
        }
        let (mut bullet, mut lines) = (0, 0);
        for (at, line) in prose(&text) {
            let is_continued = line.starts_with(' ') && !line.trim_start().starts_with("- ");
            if line.trim_start().starts_with("- ") {
                (bullet, lines) = (at, 1);
            } else if is_continued && lines > 0 {
                lines += 1;
            } else {
                lines = 0;
            }
            if lines == 3 {
                long.push(format!("{name}:{bullet}"));
            }
        }
    }
    assert_none(&long, "a bullet has one idea, in two lines at most");
}
