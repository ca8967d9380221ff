use serde_json::Map;

use super::*;
use crate::clock::Timestamp;
use crate::maintenance::alerts::alert::AlertKind;
use crate::ops::visible::is_hidden;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn alert(kind: AlertKind, summary: &str) -> Alert {
    let mut data = Map::new();
    data.insert("destination".to_owned(), "orders".into());
    Alert {
        kind,
        subject: "orders".to_owned(),
        summary: summary.to_owned(),
        data,
        at: AT,
    }
}

fn sent(alert: &Alert, format: AlertFormat) -> (String, String) {
    let destinations = Arc::from(["ops".to_owned()]);
    let event = event(alert, format, destinations, Duration::from_secs(60));
    assert_eq!(
        (event.label.as_str(), &*event.destinations),
        ("relay", &["ops".to_owned()][..])
    );
    assert_eq!(event.event_type.as_deref(), Some(alert.kind.name()));
    let headers = String::from_utf8(event.headers).expect("text");
    assert!(headers.lines().all(|line| line.contains(": ")), "{headers}");
    (
        headers,
        String::from_utf8(event.body.to_vec()).expect("text"),
    )
}

#[test]
fn a_standard_alert_is_a_payload_of_standard_webhooks() {
    let alert = alert(AlertKind::DestinationFailing, "orders is failing");
    let (headers, body) = sent(&alert, AlertFormat::Standard);
    assert_eq!(headers, "content-type: application/json\r\n");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let expected = json!({
        "type": "destination.failing",
        "timestamp": "2023-11-14T22:13:20.000Z",
        "data": { "destination": "orders", "summary": "orders is failing" },
    });
    assert_eq!(body, expected);
}

#[test]
fn a_text_for_slack_can_name_no_channel_and_no_link() {
    let alert = alert(
        AlertKind::DestinationPaused,
        "orders: <!channel> & <https://x|y>",
    );
    let (_, body) = sent(&alert, AlertFormat::Slack);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let text = body["text"].as_str().expect("text");
    assert!(!text.contains(['<', '>']), "{text}");
    assert!(
        text.contains("&lt;!channel&gt; &amp; &lt;https://x|y&gt;"),
        "{text}"
    );
}

#[test]
fn ntfy_gets_a_title_and_a_priority_and_the_summary_alone() {
    let failing = alert(AlertKind::DestinationFailing, "orders is failing");
    let (headers, body) = sent(&failing, AlertFormat::Ntfy);
    assert!(headers.contains("\r\ntitle: destination.failing\r\npriority: high\r\n"));
    assert_eq!(body, "orders is failing");
    let recovered = alert(AlertKind::DestinationRecovered, "orders has recovered");
    let (headers, _) = sent(&recovered, AlertFormat::Ntfy);
    assert!(headers.contains("priority: default\r\n"), "{headers}");
}

#[test]
fn a_text_is_one_bounded_line_without_hidden_characters() {
    let nasty = format!(
        "a\r\nb\u{1b}[31m\u{202e}\u{61c}\u{2028}\u{200b}\u{feff}\u{e0041}c{}",
        "x".repeat(10_000)
    );
    let alert = alert(AlertKind::DestinationPaused, &nasty);
    for format in [AlertFormat::Text, AlertFormat::Ntfy] {
        let (_, body) = sent(&alert, format);
        assert_eq!(body.lines().count(), 1);
        assert!(!body.contains(is_hidden), "{body:?}");
        assert!(body.chars().count() <= MAX_TEXT);
    }
}
