//! `relay show`: shows a relay or an event.

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, plain, reading};
use crate::model::IntentId;
use crate::ops::status_text::{RelayState, UNROUTED, describe_with_payload, max_attempts};
use crate::ops::views::intent;
use crate::store::{StoredAttempt, StoredIntent};

/// Characters of an answer that the text shows; `--json` has them all.
const SHOWN: usize = 200;

#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    file: ConfigFile,
    /// The id of the relay or event, as the API shows it
    id: IntentId,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(&self) -> Result<(), CommandError> {
        let id = self.id;
        let (operator, config) = reading(self.file.path())?;
        let row = operator
            .intent(id)
            .map_err(explained)?
            .ok_or_else(|| format!("there is no relay or event {id}"))?;
        let relay = RelayState {
            config: &config,
            now: operator.now(),
            is_held: operator.hold().map_err(explained)?.is_some(),
        };
        if self.json {
            say!("{}", intent(&row, relay));
            return Ok(());
        }
        print_text(&row, relay)
    }
}

fn print_text(row: &StoredIntent, relay: RelayState<'_>) -> Result<(), CommandError> {
    let config = relay.config;
    say!("{}", row.surface.public_id(row.id));
    say!("  {:<11} {}", row.surface.name(), plain(&row.label));
    if let Some(url) = &row.url {
        say!("  {:<11} {}", "to", plain(url));
    }
    if let Some(event_type) = &row.event_type {
        say!("  {:<11} {}", "type", plain(event_type));
    }
    say!("  {:<11} {}", "accepted", row.created_at);
    let payload = match row.gone {
        Some(gone) => format!("{} at {}", gone.reason.name(), gone.at),
        None if row.is_payload_gone() => {
            "deleted, since all its deliveries were discarded".to_owned()
        }
        None => format!("{} bytes", row.payload.len()),
    };
    say!("  {:<11} {payload}", "payload");
    if row.is_unrouted {
        say!("\n{UNROUTED}");
    }
    for delivery in &row.deliveries {
        say!(
            "\n{}: {}, attempt {} of {}",
            plain(&delivery.destination),
            delivery.state.name(),
            delivery.attempts,
            max_attempts(delivery, config)
        );
        say!(
            "  {}",
            plain(&describe_with_payload(delivery, row.gone, relay))
        );
        for entry in &delivery.history {
            print_attempt(entry)?;
        }
    }
    Ok(())
}

fn print_attempt(entry: &StoredAttempt) -> Result<(), CommandError> {
    let outcome = match entry.status_code {
        Some(status) => format!("{} ({status})", entry.outcome),
        None => entry.outcome.to_owned(),
    };
    say!(
        "  {}  attempt {:<3} {outcome}, {} ms{}",
        entry.started_at,
        entry.attempt,
        entry.duration_ms,
        phases(entry)
    );
    let line = |text: &str| -> Result<(), CommandError> {
        say!("{:28}{}", "", plain(text));
        Ok(())
    };
    if let Some(error) = &entry.error {
        let kind = entry.failure.as_deref().unwrap_or("failed");
        line(&format!("{kind}: {error}"))?;
    }
    if let Some(response) = entry.response.as_deref().filter(|bytes| !bytes.is_empty()) {
        let text = String::from_utf8_lossy(response);
        let cut: String = text.chars().take(SHOWN).collect();
        let more = if cut.len() < text.len() { " …" } else { "" };
        line(&format!("it said: {cut}{more}"))?;
    }
    if let Some(next) = &entry.next {
        line(&format!("then: {next}"))?;
    }
    Ok(())
}

fn phases(entry: &StoredAttempt) -> String {
    let parts = [
        ("resolve", entry.resolve_ms),
        ("connect", entry.connect_ms),
        ("TLS", entry.tls_ms),
        ("first byte", entry.first_byte_ms),
    ];
    let mut shown: Vec<String> = parts
        .iter()
        .filter_map(|(name, took)| took.map(|took| format!("{name} {took}")))
        .collect();
    shown.extend(
        entry
            .address
            .as_ref()
            .map(|address| format!("at {address}")),
    );
    if shown.is_empty() {
        String::new()
    } else {
        format!(" ({})", shown.join(", "))
    }
}
