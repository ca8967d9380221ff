//! The settings that take effect, without secrets, and their reload.

use askama::Template;
use serde_json::Value;

use super::page::{Frame, Note, Tab, html, see_other};
use super::visit::{Visit, bytes, form};
use super::when::When;
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::store::StoreError;

#[derive(Template)]
#[template(path = "configuration.html")]
struct ConfigurationPage {
    frame: Frame,
    fingerprint: String,
    generation: u64,
    last: Last,
    sections: Vec<Section>,
    may_operate: bool,
}

/// The last attempt to take a configuration over.
struct Last {
    title: &'static str,
    at: When,
    report: String,
}

/// A section of the file, or one of its named parts.
struct Section {
    name: String,
    anchor: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    value: String,
}

pub(super) async fn show(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let said = visit.no_query()?;
    let state = visit.app.store.config_state();
    let last = visit.context.wait(state).await?.last;
    let title = match (last.is_dry_run, &last.report, last.generation) {
        (true, Ok(_), _) => "A reload would change",
        (true, Err(_), _) => "A reload would be refused",
        (false, Err(_), _) => "The last reload was refused",
        (false, Ok(_), 0) => "Read at the start",
        (false, Ok(_), _) => "The last reload",
    };
    let mut frame = visit.frame("Configuration", Tab::Configuration, said);
    if visit.app.reload_file.last(&last).error.is_some() {
        let text = "The last reload was refused: the configuration before it goes on.";
        frame.notes.push(Note::trouble(text.to_owned()));
    }
    Ok(html(&ConfigurationPage {
        frame,
        fingerprint: last.fingerprint,
        generation: last.generation,
        last: Last {
            title,
            at: When::new(last.began_at, visit.now()),
            report: match last.report {
                Ok(report) if report.trim().is_empty() => "nothing".to_owned(),
                Ok(report) | Err(report) => report,
            },
        },
        sections: sections(&visit.app.config.redacted()),
        may_operate: visit.may_operate(),
    }))
}

/// Reads the configuration anew, or only tells what that would change.
pub(super) async fn reload(visit: &Visit<'_>, body: &mut Body) -> Result<Response, ApiError> {
    let mut fields = form(visit.context, visit.head, body).await?;
    let dry_run = fields.take("dry_run")?.is_some();
    fields.end()?;
    let who = visit.caller.name.as_str();
    log::info!(who, dry_run; "reload requested");
    let reload_file = visit.app.reload_file.clone();
    let reload = tokio::task::spawn_blocking(move || reload_file.call(dry_run));
    let report = reload.await.map_err(|error| {
        let error = StoreError::Unexpected(format!("a reload panicked: {error}"));
        ApiError::from_store(&error, visit.context.id())
    })?;
    let said = match (report, dry_run) {
        (Ok(_), true) => "The file was checked: the changes are below. Nothing was taken over.",
        (Ok(_), false) => "The configuration was read anew, and has taken effect.",
        (Err(_), _) => "The file was refused: the reason is below.",
    };
    Ok(see_other(
        &visit.path_with("/configuration", said.to_owned()),
    ))
}

/// The sections of the view, each with its settings; named parts are sections of their own.
fn sections(view: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    let Some(view) = view.as_object() else {
        return sections;
    };
    for (name, section) in view {
        if !matches!(name.as_str(), "destinations" | "sources") {
            sections.push(Section::new(name.clone(), section, sections.len()));
            continue;
        }
        for (part, settings) in section.as_object().into_iter().flatten() {
            let name = format!("{name}.{part}");
            sections.push(Section::new(name, settings, sections.len()));
        }
    }
    sections
}

impl Section {
    fn new(name: String, view: &Value, number: usize) -> Self {
        let mut settings = Vec::new();
        if !view.is_null() {
            collect("", view, &mut settings);
        }
        Self {
            name,
            anchor: format!("section-{number}"),
            settings,
        }
    }
}

/// Collects the settings below a key, each by its whole key.
fn collect(key: &str, view: &Value, settings: &mut Vec<Setting>) {
    if let Some(members) = view.as_object() {
        for (name, member) in members {
            // The view tells of the conditions only whether there are any.
            let conditions = member.as_bool().filter(|_| name == "has_conditions");
            let name = conditions.map_or(name.as_str(), |_| "require");
            let key = if key.is_empty() {
                name.to_owned()
            } else {
                format!("{key}.{name}")
            };
            match conditions {
                Some(are_there) => collect(&key, &are_there.then_some("set").into(), settings),
                None => collect(&key, member, settings),
            }
        }
        return;
    }
    let size = view.as_u64().filter(|_| key.ends_with("_bytes"));
    settings.push(Setting {
        key: key.to_owned(),
        value: size.map_or_else(|| value(view), bytes),
    });
}

/// A duration in the largest unit of which it is a whole number, as relay.toml may have it. The
/// view has seconds.
fn duration(text: &str) -> Option<String> {
    let seconds: u64 = text.strip_suffix('s')?.parse().ok()?;
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = units
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    unit.map(|(unit, letter)| format!("{}{letter}", seconds / unit))
}

fn value(view: &Value) -> String {
    match view {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => duration(text).unwrap_or_else(|| text.clone()),
        Value::Array(all) if all.is_empty() => "–".to_owned(),
        Value::Array(all) => all.iter().map(value).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, member)| format!("{name} {}", value(member)));
            members.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_is_shown_by_its_whole_key() {
        let view = json!({
            "api": { "keys": "set (2)", "rate_limit": { "get": { "burst": 5 } } },
            "destinations": { "orders": { "headers": ["a", "b"], "proxy": null } },
            "delivery": { "allow": [], "on": true },
            "retention": { "delivered": "604800s", "dead": "0s" },
            "retry": { "schedule": ["5s", "7200s", "90s"] },
            "server": { "max_body_bytes": 1_048_576, "burst": 1_048_576 },
            "sources": {
                "shop": { "has_conditions": true },
                "has_conditions": { "has_conditions": false, "maps": { "has_conditions": "x" } },
            },
        });
        let sections = sections(&view);
        let shown: Vec<_> = sections
            .iter()
            .flat_map(|section| {
                let settings = section.settings.iter();
                settings.map(|one| format!("{}.{} = {}", section.name, one.key, one.value))
            })
            .collect();
        for line in [
            "api.keys = set (2)",
            "api.rate_limit.get.burst = 5",
            "destinations.orders.headers = a, b",
            "destinations.orders.proxy = –",
            "delivery.allow = –",
            "delivery.on = yes",
            "retention.delivered = 7d",
            "retention.dead = 0s",
            "retry.schedule = 5s, 2h, 90s",
            "server.max_body_bytes = 1.0 MiB",
            "server.burst = 1048576",
            "sources.shop.require = set",
            "sources.has_conditions.require = –",
            "sources.has_conditions.maps.has_conditions = x",
        ] {
            assert!(shown.contains(&line.to_owned()), "{line}: {shown:?}");
        }
    }
}
