use clap::{Command, CommandFactory as _};

use super::*;

/// The help of each command, short and long, with its name.
fn helps(command: &mut Command, found: &mut Vec<(String, String)>) {
    let name = command.get_name().to_owned();
    found.push((name.clone(), command.render_help().to_string()));
    found.push((name, command.render_long_help().to_string()));
    for subcommand in command.get_subcommands_mut() {
        helps(subcommand, found);
    }
}

fn all_helps() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut command = Cli::command();
    command.build();
    helps(&mut command, &mut found);
    assert!(found.len() > 20, "all commands are seen");
    found
}

/// A terminal shows doc comments as they are written.
#[test]
fn help_shows_no_markup() {
    for (name, help) in all_helps() {
        for markup in ["`", "<http", "](", "**", "[`"] {
            assert!(!help.contains(markup), "{name}: {markup} in\n{help}");
        }
    }
}

#[test]
fn help_says_whether_json_is_one_document_or_lines() {
    let mut command = Cli::command();
    command.build();
    let mut with_json = Vec::new();
    for command in command.get_subcommands() {
        let mut arguments = command.get_arguments();
        if let Some(json) = arguments.find(|argument| argument.get_id() == "json") {
            let help = json.get_help().expect("help").to_string();
            let is_said = help.contains("JSON document") || help.contains("JSON lines");
            assert!(is_said, "{}: {help}", command.get_name());
            with_json.push(command.get_name());
        }
    }
    assert_eq!(
        with_json,
        [
            "reload",
            "check",
            "list",
            "show",
            "replay",
            "retry",
            "discard",
            "erase",
            "reroute",
            "cancel",
            "pause",
            "resume",
            "backup",
            "verify",
            "restore",
            "import",
            "migrate",
            "unlock",
            "providers",
            "send",
            "match",
            "tail",
            "nodes",
            "stats",
            "doctor",
            "health"
        ]
    );
}

#[test]
fn lines_of_help_end_at_100_columns() {
    let helps = all_helps();
    let lines = helps
        .iter()
        .flat_map(|(name, help)| help.lines().map(move |line| (name, line)));
    let wide: Vec<_> = lines
        .filter(|(_, line)| line.chars().count() > 100)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
}
