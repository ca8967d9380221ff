//! The command.

use std::path::PathBuf;

use clap::Args;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::send::draft::Draft;
use crate::cli::send::post::Door;
use crate::cli::send::{key, post, sign};
use crate::cli::{header, payload_file};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, SourcePolicy, StoredEvent};
use crate::model::is_name;
use crate::model::request::document;
use crate::store::Operator;

#[derive(Args)]
pub(in crate::cli) struct Send {
    #[command(flatten)]
    file: ConfigFile,
    /// The source, as in /webhooks/SOURCE
    source: String,
    /// The file that holds the body; - is standard input
    payload: PathBuf,
    /// Show the request without its tokens and passwords, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// A header such as 'X-GitHub-Event: push'; may be given several times
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The query of the request, such as 'tenant=7'
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Send {
    pub fn run(&self) -> Result<(), CommandError> {
        let name = self.source.as_str();
        let mut config = Config::load_for_source(self.file.path(), name)?;
        add_learned_secrets(&mut config, name);
        let resolved = config.resolve();
        let source = resolved.source(name).filter(|_| is_name(name));
        let source =
            source.ok_or_else(|| format!("there is no source {name:?}, and no [sources.\"*\"]"))?;
        let draft = self.draft(source)?;
        let to = Door::of(config.server.listen, config.server.speaks_tls());
        if self.dry_run {
            let target = draft.masked(&draft.target());
            let headers = header::block(&draft.headers);
            let problem = source.problem_of_body(&stored(&draft, &headers));
            if self.json {
                let url = format!("{to}{target}");
                say!("{}", as_json(&draft, source, (&url, problem)));
                return Ok(());
            }
            say!("would post to {to}{target}");
            if let Some(problem) = problem {
                say!("would be refused: {problem}\n");
            } else {
                say!("would go to {}\n", destinations(source, &draft));
            }
            return show(&draft);
        }
        post_draft(&draft, &to, self.json)
    }

    /// The request that the source's sender would send.
    fn draft(&self, source: &SourcePolicy) -> Result<Draft, CommandError> {
        let mut draft = Draft::new(&self.source, payload_file::read(&self.payload)?);
        for header in &self.headers {
            let (name, value) = header::parse(header)?;
            draft.headers.append(name, value);
        }
        if let Some(query) = &self.query {
            draft.set_query(query_of(query)?);
        }
        // A sender signs what it compresses.
        let given = draft.body.clone();
        let headers = header::block(&draft.headers);
        let decoded = source.decoded(&stored(&draft, &headers));
        let decoded = decoded.ok_or("the payload can't be decoded: expected gzip, once")?;
        draft.body = decoded.into_owned();
        let decoded = draft.body.clone();
        add_content_type(&mut draft, source);
        key::add(&mut draft, &source.idempotency);
        sign::sign(&mut draft, source, SystemClock::new().wall())?;
        if decoded != given {
            if draft.body != decoded {
                let problem = "a compressed payload can't be filled in: send it as it is before";
                return Err(problem.into());
            }
            draft.body = given;
        }
        Ok(draft)
    }
}

/// The event of the request.
fn stored<'a>(draft: &'a Draft, headers: &'a [u8]) -> StoredEvent<'a> {
    StoredEvent {
        event_type: None,
        headers,
        body: &draft.body,
    }
}

/// The destinations that the request is for.
fn destinations(source: &SourcePolicy, draft: &Draft) -> String {
    let names = source.route_stored(&stored(draft, &header::block(&draft.headers)));
    if names.is_empty() {
        "no destination: no route wants it".to_owned()
    } else {
        names.join(", ")
    }
}

/// A source that has no secret but those that a handshake brought signs with one of these.
fn add_learned_secrets(config: &mut Config, name: &str) {
    let Some(source) = config.sources.get_mut(name) else {
        return;
    };
    if !source.learns_secrets() || source.has_secrets() {
        return;
    }
    // Without a database nothing was learned; then the signature says what is missing.
    let learned = Operator::reading(&config.database)
        .ok()
        .and_then(|operator| operator.learned_secrets().ok());
    let learned = learned.into_iter().flatten();
    let own = learned.filter(|learned| learned.source == name);
    source.secrets.extend(own.map(|learned| learned.secret));
}

/// Posts the request, and prints the answer. An answer that isn't a success is a failure.
fn post_draft(draft: &Draft, to: &Door, is_json: bool) -> Result<(), CommandError> {
    let answer = post::post(to, &draft.to_bytes(&to.address.to_string()));
    let answer = answer.map_err(|error| {
        format!("{to}: {error}: expected the relay that serves this configuration")
    })?;
    let (status, code, body) =
        post::split(&answer).ok_or_else(|| format!("{to}: the answer is no HTTP"))?;
    let body = String::from_utf8_lossy(body);
    if !(200..300).contains(&code) {
        return Err(format!("the relay answered {status}: {}", body.trim()).into());
    }
    if is_json {
        let body = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(&*body));
        say!("{}", json!({ "ok": true, "status": code, "body": body }));
        return Ok(());
    }
    say!("{status}");
    if !body.trim().is_empty() {
        say!("{}", body.trim());
    }
    Ok(())
}

fn query_of(text: &str) -> Result<&str, String> {
    let query = text.strip_prefix('?').unwrap_or(text);
    let is_sendable = query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let wrong = || format!("{text:?}: expected a query as it is sent, such as \"tenant=7\"");
    is_sendable.then_some(query).ok_or_else(wrong)
}

/// A body that is no JSON is a form, if the source reads its fields.
fn add_content_type(draft: &mut Draft, source: &SourcePolicy) {
    if draft.headers.contains_key(CONTENT_TYPE) {
        return;
    }
    let content_type = if document(&draft.body).is_ok() {
        "application/json"
    } else if sign::reads_form(source) || key::reads_form(&source.idempotency) {
        "application/x-www-form-urlencoded"
    } else {
        "application/octet-stream"
    };
    draft
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// The request that would be sent, without its tokens and passwords.
fn as_json(draft: &Draft, source: &SourcePolicy, (url, problem): (&str, Option<String>)) -> Value {
    let headers = draft.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        json!({ "name": name.as_str(), "value": draft.masked(&value) })
    });
    let headers: Vec<Value> = headers.collect();
    let destinations = source.route_stored(&stored(draft, &header::block(&draft.headers)));
    let body = std::str::from_utf8(&draft.body).ok();
    json!({
        "url": url,
        "problem": problem,
        "destinations": destinations.to_vec(),
        "headers": headers,
        "body": body.map(|text| draft.masked(text)),
    })
}

fn show(draft: &Draft) -> Result<(), CommandError> {
    for (name, value) in &draft.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        say!("{name}: {}", draft.masked(&value));
    }
    if let Ok(text) = std::str::from_utf8(&draft.body) {
        say!("\n{}", draft.masked(text));
    } else {
        say!("\n({} bytes)", draft.body.len());
    }
    Ok(())
}
