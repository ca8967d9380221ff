//! The documents: their links, the names in them, and their form.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{assert_none, files, prose};

/// The Markdown documents, by their path from the root.
pub fn documents() -> Vec<(String, String)> {
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

/// The parts of a line in backticks, and the line without them.
pub fn code_spans(line: &str) -> (Vec<&str>, String) {
    let parts = || line.split('`');
    (
        parts().skip(1).step_by(2).collect(),
        parts().step_by(2).collect(),
    )
}

/// The targets of a line's links.
pub fn links(line: &str) -> Vec<String> {
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
    let shown = tree(include_str!("../../docs/architecture.md"));
    assert!(shown.contains(&"src/store/sqlite/handle.rs".to_owned()));
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
    let configuration = include_str!("../../docs/configuration.md");
    let operating = include_str!("../../docs/operating.md");
    let keys: Vec<&str> = include_str!("../../relay.toml")
        .lines()
        .filter_map(|line| Some(line.trim_start_matches(['#', ' ']).split_once(" = ")?.0))
        .filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    let variables = names_with(include_str!("../../src/config/environment.rs"), "RELAY_");
    let metrics = names_with(include_str!("../../src/ops/metrics.rs"), "relay_");
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
    let operating = include_str!("../../docs/operating.md");
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

#[test]
fn the_readme_is_read_in_a_minute() {
    let lines = include_str!("../../README.md").lines().count();
    assert!(
        lines <= 120,
        "README.md has {lines} lines, and may have 120"
    );
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
