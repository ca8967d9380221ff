//! `relay secrets`: the secrets that senders give to sources by a handshake.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, plain, reading, writing};
use crate::cli::table::{self, Column};
use crate::config::{Resolved, parse_duration};
use crate::store::{
    ExpectOutcome, LearnedSecret, LearnedSecretId, MAX_LEARNED_SECRETS, SecretExpectation,
};

/// The longest time for which a source expects a secret: a stranger who knows the URL could be the
/// first to send one.
const MAX_FOR: Duration = Duration::from_secs(86_400);

#[derive(Args)]
pub(super) struct Secrets {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Let a source learn the secret that the next handshake brings
    Expect(Expect),
    /// List the secrets that sources have learned, without their texts
    List(List),
    /// Forget secrets that a source has learned: requests that they sign are refused
    Forget(Forget),
}

#[derive(Args)]
struct Expect {
    #[command(flatten)]
    file: ConfigFile,
    /// A source whose handshakes hold "asana"
    source: String,
    /// How long the source expects the secret, at most 1d
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = expectation)]
    lasting: Duration,
    /// Keep the secrets that the source has learned: its sender has several webhooks
    #[arg(long)]
    add: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// The source; without it, all
    source: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Forget {
    #[command(flatten)]
    file: ConfigFile,
    /// The source
    source: String,
    /// The numbers that relay secrets list shows; without them, all secrets of the source
    ids: Vec<LearnedSecretId>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Secrets {
    pub fn run(&self) -> Result<(), CommandError> {
        match &self.action {
            Action::Expect(expect) => expect.run(),
            Action::List(list) => list.run(),
            Action::Forget(forget) => forget.run(),
        }
    }
}

fn expectation(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).ok();
    duration
        .filter(|duration| !duration.is_zero() && *duration <= MAX_FOR)
        .ok_or_else(|| "expected a time such as 10m, at most 1d".to_owned())
}

impl Expect {
    fn run(&self) -> Result<(), CommandError> {
        let source = self.source.as_str();
        let (mut operator, config) = writing(self.file.path())?;
        check_source(&config, source, self.file.path())?;
        let until = operator.now().plus(self.lasting);
        let outcome = operator
            .expect_secret(source, until, self.add)
            .map_err(explained)?;
        match outcome {
            ExpectOutcome::Until(until) => {
                if self.json {
                    say!(
                        "{}",
                        json!({ "ok": true, "source": source, "until": until })
                    );
                    return Ok(());
                }
                say!("{source} learns the next secret that comes until {until}");
                Ok(())
            }
            ExpectOutcome::HasSecrets(count) => Err(format!(
                "{source} has learned {count}: --add keeps them, relay secrets forget {source} \
                 makes room for another webhook's"
            )
            .into()),
            ExpectOutcome::HasMost => Err(format!(
                "{source} has learned {MAX_LEARNED_SECRETS}, as many as may be: relay secrets \
                 forget {source} NUMBER makes room"
            )
            .into()),
        }
    }
}

/// The source can learn secrets: a mistyped name would expect one for ever in vain.
fn check_source(config: &Resolved, source: &str, file: Option<&Path>) -> Result<(), CommandError> {
    let shown = file.map_or_else(|| "relay.toml".into(), Path::to_string_lossy);
    let Some(policy) = config.sources.get(source) else {
        let wrong = format!("{source:?}: {shown} has no [sources.{source}]");
        return Err(wrong.into());
    };
    if source != "*" && policy.learns_secrets() {
        return Ok(());
    }
    let wrong = format!(
        "{source:?}: no handshake brings it secrets: expected a source of {shown} with \
         handshakes = [\"asana\"]"
    );
    Err(wrong.into())
}

impl List {
    fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.file.path())?;
        let is_shown = |source: &str| self.source.as_deref().is_none_or(|name| name == source);
        let mut learned = operator.learned_secrets().map_err(explained)?;
        learned.retain(|learned| is_shown(&learned.source));
        let mut expected = operator.secret_expectations().map_err(explained)?;
        expected.retain(|expected| is_shown(&expected.source));
        if self.json {
            return print_json(&learned, &expected);
        }
        if learned.is_empty() && expected.is_empty() {
            hint!("nothing found");
            return Ok(());
        }
        print_table(&config, &learned, &expected)
    }
}

fn print_json(
    learned: &[LearnedSecret],
    expected: &[SecretExpectation],
) -> Result<(), CommandError> {
    let learned = learned
        .iter()
        .map(|one| json!({ "source": one.source, "number": one.id, "learned_at": one.learned_at }));
    let expected = expected
        .iter()
        .map(|one| json!({ "source": one.source, "until": one.until }));
    let document = json!({
        "learned": learned.collect::<Vec<_>>(),
        "expected": expected.collect::<Vec<_>>(),
    });
    say!("{document}");
    Ok(())
}

fn print_table(
    config: &Resolved,
    learned: &[LearnedSecret],
    expected: &[SecretExpectation],
) -> Result<(), CommandError> {
    let state = |source: &str, state: String| {
        let is_used = config.sources.get(source).map(|s| s.learns_secrets());
        match is_used {
            Some(true) => state,
            _ => format!("{state} (not in use: the source learns no secrets)"),
        }
    };
    let learned = learned.iter().map(|one| {
        let text = state(&one.source, format!("learned at {}", one.learned_at));
        [one.source.clone(), one.id.to_string(), text]
    });
    let expected = expected.iter().map(|one| {
        let text = state(&one.source, format!("expects one until {}", one.until));
        [one.source.clone(), String::new(), text]
    });
    let mut rows: Vec<[String; 3]> = learned.chain(expected).collect();
    rows.sort_by(|one, other| one[0].cmp(&other[0]));
    let columns = [
        Column::Left("SOURCE"),
        Column::Right("NUMBER"),
        Column::Left("STATE"),
    ];
    table::print(&columns, &rows)
}

impl Forget {
    fn run(&self) -> Result<(), CommandError> {
        let source = self.source.as_str();
        let (mut operator, _) = writing(self.file.path())?;
        let ids = (!self.ids.is_empty()).then(|| self.ids.clone());
        let forgotten = operator.forget_secrets(source, ids).map_err(explained)?;
        if forgotten == 0 {
            return Err(format!("{}: has learned none of them", plain(source)).into());
        }
        if self.json {
            say!(
                "{}",
                json!({ "ok": true, "source": source, "forgotten": forgotten })
            );
            return Ok(());
        }
        say!("forgot {forgotten}; a server refuses what they sign within two seconds");
        Ok(())
    }
}
