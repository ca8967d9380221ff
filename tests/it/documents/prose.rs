//! Commands in the prose of documents, such as `relay reload --dry-run`: they and their options are
//! known, though they are not run.

use std::collections::BTreeMap;

use super::blocks::text_of;
use super::documents;
use crate::support::Process;

/// The parts in backticks of the lines outside of blocks.
fn spans(text: &str) -> Vec<String> {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The command of a line: `replay`, or `secrets expect`. None for one that is a placeholder.
fn command_of(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    let name = words.next().filter(is_name)?;
    let below = words
        .next()
        .filter(|word| name == "secrets" && is_name(word));
    Some(below.map_or(name.to_owned(), |below| format!("{name} {below}")))
}

/// The help of a command, if there is such a command.
fn help(command: &str) -> Option<String> {
    let output = Process::command(std::path::Path::new("."))
        .args(command.split(' '))
        .arg("--help")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(text)
}

#[test]
fn commands_and_options_in_prose_are_known() {
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for document in documents() {
        for span in spans(&text_of(&document)) {
            let Some(line) = span.strip_prefix("relay ") else {
                continue;
            };
            let Some(command) = command_of(line) else {
                continue;
            };
            let help = known
                .entry(command.clone())
                .or_insert_with(|| help(&command));
            let options = line
                .split_whitespace()
                .filter(|word| word.starts_with("--"));
            let has = |option: &str| {
                let has = |help: &String| help.contains(option);
                help.as_ref().is_some_and(has)
            };
            if help.is_none() || options.clone().any(|option| !has(option)) {
                unknown.push(format!("{document}: relay {line}"));
            }
        }
    }
    assert!(known.len() > 20, "commands are found: {known:?}");
    assert!(unknown.is_empty(), "unknown:\n{}", unknown.join("\n"));
}
