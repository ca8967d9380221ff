//! The table of all providers: how each is verified, its key, its handshake and its answer.

use toml::{Table, Value};

use super::{Provider, all};

/// Well-known senders that can't be connected, and the reason.
pub const NOT_CONNECTED: [(&str, &str); 2] = [
    ("Google Pub/Sub", "its push requests carry a JWT"),
    ("Plaid", "it signs with a JWT"),
];

/// The sender's product, and how it is connected.
pub struct Row {
    pub title: String,
    pub name: String,
    pub verified_by: String,
    pub key: String,
    pub handshakes: String,
    pub answer: String,
}

pub fn row(provider: &Provider) -> Row {
    let source = &provider.source;
    Row {
        title: provider.title.clone(),
        name: provider.name.clone(),
        verified_by: match &provider.missing {
            None => provider.verified_by.clone(),
            Some(reason) => format!("{}; {reason}", provider.verified_by),
        },
        key: key(&source["idempotency"]),
        handshakes: handshakes(source),
        answer: answer(source),
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

fn key(place: &Value) -> String {
    let code = |name: &str| format!("`{name}`");
    match place {
        Value::String(word) => word.clone(),
        Value::Array(places) => {
            let places: Vec<_> = places.iter().map(key).collect();
            places.join(", else ")
        }
        Value::Table(table) => {
            let (kind, value) = table.iter().next().expect("a kind of key");
            match (kind.as_str(), value) {
                ("headers", Value::Array(names)) => {
                    let names = names
                        .iter()
                        .map(|name| code(name.as_str().expect("a name")));
                    names.collect::<Vec<_>>().join(" and ")
                }
                ("header" | "json_pointer", Value::String(name)) => code(name),
                ("form" | "query", Value::String(name)) => format!("{kind} {}", code(name)),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other}"),
    }
}

fn handshakes(source: &Table) -> String {
    let all = source.get("handshakes").and_then(Value::as_array);
    let names = all.into_iter().flatten().map(|handshake| match handshake {
        Value::String(name) => format!("`{name}`"),
        _ => "of its own".to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn answer(source: &Table) -> String {
    let Some(answer) = source.get("answer").and_then(Value::as_table) else {
        return "202, JSON".to_owned();
    };
    let status = answer
        .get("status")
        .and_then(Value::as_integer)
        .unwrap_or(200);
    match text(answer, "body") {
        None | Some("") => format!("{status}, empty"),
        Some(_) if text(answer, "content_type") == Some("application/json") => {
            format!("{status}, JSON of its own")
        }
        Some(body) => format!("{status}, `{body}`"),
    }
}

/// How a source is verified, in words.
pub fn verification(source: &Table) -> String {
    if let Some(schemes) = source.get("verify_any").and_then(Value::as_array) {
        let schemes = schemes.iter().map(|scheme| {
            let mut scheme = scheme.as_table().expect("a scheme").clone();
            scheme.remove("when");
            scheme_in_words(&scheme)
        });
        return schemes.collect::<Vec<_>>().join("; or ");
    }
    scheme_in_words(source["verify"].as_table().expect("a scheme"))
}

fn scheme_in_words(verify: &Table) -> String {
    let (kind, scheme) = verify.iter().next().expect("a scheme");
    let scheme = scheme.as_table().expect("a scheme");
    let place = match (
        scheme.get("header"),
        text(scheme, "signature"),
        text(scheme, "value"),
    ) {
        (Some(Value::String(header)), _, _) => format!("in `{header}`"),
        (Some(Value::Array(headers)), _, _) => {
            let headers = headers
                .iter()
                .map(|h| format!("`{}`", h.as_str().expect("a name")));
            format!("in {}", headers.collect::<Vec<_>>().join(" or "))
        }
        (_, _, Some(value)) if value.starts_with("{query") => "in the query".to_owned(),
        _ => "in the body".to_owned(),
    };
    let signed = match text(scheme, "signed").unwrap_or("{body}") {
        // Long ones are shown by `relay providers`.
        signed if signed.len() > 70 => "several fields".to_owned(),
        signed => format!("`{signed}`"),
    };
    let algorithm = text(scheme, "algorithm").unwrap_or("sha256");
    match kind.as_str() {
        "hmac" => format!("HMAC-{} of {signed}, {place}", algorithm.to_uppercase()),
        "public_key" => format!("signature ({algorithm}) of {signed}, {place}"),
        "token" => format!("token {place}"),
        "basic" => format!(
            "Basic credentials of the user `{}`",
            text(scheme, "user").unwrap_or("relay")
        ),
        "standard_webhooks" => {
            "Standard Webhooks, in `webhook-signature` or `svix-signature`".to_owned()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn nearly_all_well_known_senders_are_connected() {
    let providers = all();
    for provider in &providers {
        let Row {
            title,
            verified_by,
            key,
            handshakes,
            answer,
            ..
        } = row(provider);
        println!("{title:48} {verified_by:18} {key:60} {handshakes:24} {answer}");
    }
    for (title, reason) in NOT_CONNECTED {
        println!("{title:48} not connected: {reason}");
    }
    let connected = providers
        .iter()
        .filter(|provider| provider.missing.is_none());
    assert!(connected.count() >= 48 && NOT_CONNECTED.iter().all(|(_, reason)| !reason.is_empty()));
    assert_eq!(providers.len() + NOT_CONNECTED.len(), 52);
}
