//! Every command in the documents is run. Scripts of `packaging/` and `.ci/run` run those that want
//! root, systemd or minutes; the others run here, in the order of their document.
//!
//! - [`blocks`]: the commands of a document. [`prose`]: those outside of blocks, which are known.
//! - [`elsewhere`]: those that scripts run, and the reasons of those that nothing runs.
//! - [`scene`]: where commands run. [`words`]: addresses and ids there. [`steps`]: commands that
//!   want something before.
//!
//! Without curl, man, openssl, rsync or sqlite3 their commands are skipped, and the test says so,
//! unless `RELAY_DOCUMENT_TESTS=required` forbids it.

mod blocks;
mod elsewhere;
mod prose;
mod scene;
mod steps;
mod words;

use std::collections::BTreeSet;

use blocks::{Block, blocks, text_of};
use elsewhere::{NOT_RUN, SECTIONS, run_by_scripts};
use scene::Scene;
use steps::{STEPS, Step, step_of};

/// Programs that not every machine has.
const PROGRAMS: [&str; 5] = ["curl", "man", "openssl", "rsync", "sqlite3"];

/// Tests that run a document's commands, and the list of these documents.
macro_rules! documents {
    ($($test:ident: $path:literal in $scene:path;)*) => {
        const DOCUMENTS: &[&str] = &[$($path),*];

        $(
            #[test]
            fn $test() {
                run($path, $scene);
            }
        )*
    };
}

documents! {
    the_readme_s_commands_run: "README.md" in Scene::repository;
    commands_of_contributing_run: "CONTRIBUTING.md" in Scene::repository;
    commands_of_backups_run: "docs/backup.md" in Scene::furnished;
    commands_of_delivery_run: "docs/delivery.md" in Scene::bare;
    commands_of_installing_run: "docs/install.md" in Scene::bare;
    commands_of_operating_run: "docs/operating.md" in Scene::furnished;
    commands_of_postgresql_run: "docs/postgres.md" in Scene::bare;
    commands_of_routing_run: "docs/routing.md" in Scene::furnished;
    commands_of_sources_run: "docs/sources.md" in Scene::furnished;
    commands_of_sql_run: "docs/sql.md" in Scene::furnished;
    commands_of_the_torture_suite_run: "tests/torture/README.md" in Scene::bare;
}

/// The commands of a document that are run here.
fn commands_here(document: &str) -> Vec<String> {
    let scripts = run_by_scripts();
    let is_elsewhere = |block: &Block| {
        let mut sections = SECTIONS.iter();
        sections.any(|(of, heading, _)| *of == document && *heading == block.heading)
    };
    let all = blocks(&text_of(document)).into_iter();
    let commands = all.filter(|block| !is_elsewhere(block));
    let commands = commands.flat_map(|block| block.commands);
    let is_not_run = |command: &String| NOT_RUN.iter().any(|(known, _)| known == command);
    commands
        .filter(|command| !scripts.contains(command) && !is_not_run(command))
        .collect()
}

fn run(document: &str, scene: fn() -> Scene) {
    let commands = commands_here(document);
    if commands.is_empty() {
        return;
    }
    let mut scene = scene();
    for command in commands {
        if let Some(program) = missing(&command) {
            println!("skipped: {command}: {program} isn't installed");
            continue;
        }
        match step_of(document, &command) {
            Step::Run => {
                assert_stays_here(&command);
                scene.run(&command);
            }
            Step::After(prepare) => {
                prepare(&mut scene);
                scene.run(&command);
            }
            Step::WithoutServer(prepare) => {
                scene.stop();
                prepare(&mut scene);
                scene.run(&command);
                scene.start();
            }
            Step::Serves => scene.serve(&command),
            Step::Follows => scene.follow(&command),
            Step::Instead(act) => act(&mut scene),
        }
    }
}

/// Programs that reach beyond a scene: no command with one of them runs here as it stands.
const REACHING: [&str; 9] = [
    "apt-get",
    "cargo",
    "dnf",
    "docker",
    "dpkg",
    "podman",
    "rustup",
    "sudo",
    "systemctl",
];

fn assert_stays_here(command: &str) {
    let reaches = |word: &str| REACHING.contains(&word);
    assert!(
        !command.split_whitespace().any(reaches),
        "nothing runs {command:?}: let a script of packaging/ do it, or elsewhere.rs say why not"
    );
}

/// A program that the command wants, and that isn't installed.
fn missing(command: &str) -> Option<&'static str> {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |program: &str| {
        let mut folders = std::env::split_paths(&path);
        folders.any(|folder| folder.join(program).exists())
    };
    let mut programs = PROGRAMS.into_iter();
    let missing = programs.find(|program| {
        let mut words = command.split_whitespace();
        words.any(|word| word == *program) && !is_there(program)
    })?;
    let is_required = std::env::var("RELAY_DOCUMENT_TESTS").is_ok_and(|text| text == "required");
    assert!(!is_required, "{missing} is required, and isn't installed");
    Some(missing)
}

/// The Markdown files of the repository that users and contributors read.
fn documents() -> BTreeSet<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned(), root.join("docs"), root.join("tests")];
    let is_read = |path: &std::path::Path| path.extension().is_some_and(|ending| ending == "md");
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.starts_with(root.join("tests")) {
                folders.push(path);
            } else if is_read(&path) {
                let name = path.strip_prefix(root).expect("below the root");
                found.insert(name.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn no_document_with_commands_is_left_out() {
    let has_commands = |path: &String| !blocks(&text_of(path)).is_empty();
    let with_commands: BTreeSet<_> = documents().into_iter().filter(has_commands).collect();
    let tested: BTreeSet<_> = DOCUMENTS.iter().map(|&path| path.to_owned()).collect();
    assert_eq!(with_commands, tested);
}

/// An exception for a command that is gone would hide the next one of that name.
#[test]
fn each_exception_is_for_a_command_that_is_there() {
    let all = |document: &str| {
        let blocks = blocks(&text_of(document)).into_iter();
        blocks.flat_map(|block| block.commands)
    };
    let everywhere: BTreeSet<_> = DOCUMENTS.iter().flat_map(|path| all(path)).collect();
    let scripts = run_by_scripts();
    for (command, reason) in NOT_RUN {
        assert!(everywhere.contains(*command), "{command}: {reason}");
        assert!(!scripts.contains(*command), "a script runs {command}");
    }
    for (document, command, _) in STEPS {
        let is_there = if *document == "*" {
            everywhere.contains(*command)
        } else {
            commands_here(document).iter().any(|known| known == command)
        };
        assert!(is_there, "{document}: {command}");
    }
    for (document, heading, test) in SECTIONS {
        let mut sections = blocks(&text_of(document)).into_iter();
        assert!(
            sections.any(|block| block.heading == heading),
            "{document}: {heading}"
        );
        assert!(text_of(test).contains(heading), "{test} runs {heading}");
    }
}
