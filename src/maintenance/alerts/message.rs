//! The event of an alert, in the form that its receiver takes. Pure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::alert::Alert;
use crate::config::{ALERT_SOURCE, AlertFormat};
use crate::model::Surface;
use crate::ops::visible::replaced;
use crate::store::Accept;

/// Characters of a text at most: ntfy takes 4 096 bytes, and an alert is read on a telephone.
const MAX_TEXT: usize = 2000;

/// The event of an alert, for a destination.
pub(super) fn event(
    alert: &Alert,
    format: AlertFormat,
    destinations: Arc<[String]>,
    window: Duration,
) -> Accept {
    let (headers, body) = content(alert, format);
    Accept {
        surface: Surface::Event,
        label: ALERT_SOURCE.to_owned(),
        event_type: Some(alert.kind.name().to_owned()),
        url: None,
        query: None,
        destinations,
        // One that is given up must not keep the next one back.
        order_keys: Vec::new(),
        owner: None,
        headers: headers.into_bytes(),
        metadata: None,
        body: Bytes::from(body),
        // Its state is written with it: nothing else keeps it from being made again.
        key: None,
        window,
    }
}

/// The headers, `name: value\r\n` each, and the body.
fn content(alert: &Alert, format: AlertFormat) -> (String, String) {
    let json_headers = "content-type: application/json\r\n".to_owned();
    let text_headers = "content-type: text/plain; charset=utf-8\r\n".to_owned();
    match format {
        AlertFormat::Standard => (json_headers, standard(alert).to_string()),
        AlertFormat::Slack => (json_headers, slack(alert).to_string()),
        AlertFormat::Ntfy => (text_headers + &ntfy_headers(alert), text(&alert.summary)),
        AlertFormat::Text => {
            let line = format!("{}: {}", alert.kind.name(), alert.summary);
            (text_headers, text(&line))
        }
    }
}

/// The payload that the Standard Webhooks specification recommends.
fn standard(alert: &Alert) -> Value {
    let mut data = alert.data.clone();
    data.insert("summary".to_owned(), text(&alert.summary).into());
    json!({ "type": alert.kind.name(), "timestamp": alert.at, "data": data })
}

fn slack(alert: &Alert) -> Value {
    let sign = if alert.kind.is_good() {
        ":white_check_mark:"
    } else {
        ":warning:"
    };
    let summary = escaped(&text(&alert.summary));
    json!({ "text": format!("{sign} *{}* {summary}", alert.kind.name()) })
}

/// The three characters by which Slack's texts can name channels, people and links.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The headers by which ntfy shows a message. They hold nothing from outside.
fn ntfy_headers(alert: &Alert) -> String {
    let (priority, tag) = if alert.kind.is_good() {
        ("default", "white_check_mark")
    } else {
        ("high", "warning")
    };
    let title = alert.kind.name();
    format!("title: {title}\r\npriority: {priority}\r\ntags: {tag}\r\n")
}

/// A text in one line, bounded, without hidden characters: a pause's reason is free text.
fn text(summary: &str) -> String {
    summary.chars().take(MAX_TEXT).map(replaced).collect()
}

#[cfg(test)]
mod tests;
