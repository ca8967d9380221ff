//! `relay providers`: lists the known senders of webhooks, or shows one.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CommandError;
use crate::cli::table::{self, Column};
use crate::config::providers::{FILES, ProviderFile};

#[derive(Args)]
pub(super) struct Providers {
    /// The name of the provider to show
    name: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Providers {
    pub fn run(&self) -> Result<(), CommandError> {
        let Some(name) = &self.name else {
            return list(self.json);
        };
        let file = ProviderFile::find(name)
            .ok_or_else(|| format!("there is no provider {name:?}: relay providers lists them"))?;
        if self.json {
            say!("{}", document(file));
            return Ok(());
        }
        show(file)
    }
}

fn list(json: bool) -> Result<(), CommandError> {
    if json {
        let all: Vec<Value> = FILES.iter().map(document).collect();
        say!("{}", Value::from(all));
        return Ok(());
    }
    let columns = [
        Column::Left("NAME"),
        Column::Left("TITLE"),
        Column::Left("VERIFIED BY"),
    ];
    let rows: Vec<[String; 3]> = FILES
        .iter()
        .map(|file| {
            let provider = file.describe();
            [file.name.to_owned(), provider.title, provider.verified_by]
        })
        .collect();
    table::print(&columns, &rows)
}

fn show(file: &ProviderFile) -> Result<(), CommandError> {
    let provider = file.describe();
    say!("{}: {}", provider.title, provider.docs);
    say!("verified by: {}", provider.verified_by);
    if !provider.needs.is_empty() {
        say!("\nneeds:");
        for need in &provider.needs {
            say!("  {}: {}", need.name, need.about);
        }
    }
    say!("\nin relay.toml:\n");
    indented(&file.section())?;
    say!("\nthat stands for:\n");
    indented(&file.source_text(file.name))?;
    say!("\nat the provider:");
    for (number, step) in (1..).zip(&provider.setup) {
        say!("  {number}. {step}");
    }
    say!("\nto know:");
    for note in &provider.notes {
        say!("  - {note}");
    }
    Ok(())
}

fn indented(text: &str) -> Result<(), CommandError> {
    for line in text.lines() {
        say!("  {line}");
    }
    Ok(())
}

fn document(file: &ProviderFile) -> Value {
    let provider = file.describe();
    let needs: Vec<Value> = provider
        .needs
        .iter()
        .map(|need| json!({ "name": need.name, "about": need.about }))
        .collect();
    json!({
        "name": file.name,
        "title": provider.title,
        "docs": provider.docs,
        "verifiedBy": provider.verified_by,
        "needs": needs,
        "section": file.section(),
        "source": file.settings(),
        "setup": provider.setup,
        "notes": provider.notes,
    })
}
