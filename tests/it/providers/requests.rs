//! Requests of providers against a running relay that names the provider in its file.

use std::fmt::Write as _;
use std::sync::Arc;

use relay::Config;
use relay::clock::{FakeClock, Timestamp};
use serde_json::Value;

use super::{Provider, Request, all};
use crate::needs_a_file;
use crate::support::{Client, Process, Reply, TestRelay, engine};

/// A server that delivers to nobody who listens.
pub(super) const SERVER: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
    [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n";

/// A source of the provider's name, with the operator's settings of one request.
pub(super) fn section(provider: &str, request: &Request) -> String {
    let mut toml =
        format!("[sources.{provider}]\nprovider = '{provider}'\ndestinations = ['orders']\n");
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    for (key, values) in [
        ("secrets", &request.secrets),
        ("public_keys", &request.public_keys),
        ("hub_tokens", &request.hub_tokens),
    ] {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(quoted).collect();
            writeln!(toml, "{key} = [{}]", values.join(", ")).expect("a String takes all");
        }
    }
    if let Some(url) = &request.public_url {
        writeln!(toml, "public_url = '{url}'").expect("a String takes all");
    }
    for (name, value) in &request.params {
        writeln!(toml, "params.{name} = '{value}'").expect("a String takes all");
    }
    toml
}

fn configuration(provider: &str, request: &Request) -> String {
    format!("{SERVER}{}", section(provider, request))
}

/// Sets the token of a handshake that a source's events don't need.
pub(super) fn add_hub_token(provider: &str, request: &mut Request) {
    if provider == "meta" && request.hub_tokens.is_empty() {
        request.hub_tokens = vec!["t".to_owned()];
    }
}

/// A relay at the time of the request.
fn start(provider: &str, request: &Request) -> TestRelay {
    let mut request = request.clone();
    add_hub_token(provider, &mut request);
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let file = directory.path().join("relay.toml");
    std::fs::write(&file, configuration(provider, &request)).expect("writing relay.toml");
    let mut config = Config::load(Some(&file)).unwrap_or_else(|e| panic!("{provider}: {e}"));
    engine::configure(&mut config, directory.path());
    let clock = request
        .time
        .map(|seconds| Arc::new(FakeClock::at(Timestamp::from_millis(seconds * 1000))));
    TestRelay::start_in(directory, config, clock)
}

/// Sends a request. The answers of providers' sources are described in words in openapi.yaml, so
/// they are not held against it.
fn send(relay: &TestRelay, provider: &str, request: &Request) -> Reply {
    let client = Client::of_admin(relay.client.address());
    let method = if request.method.is_empty() {
        "POST"
    } else {
        &request.method
    };
    client.send(
        method,
        &request.target(provider),
        &request.headers(),
        &request.body(),
    )
}

fn events(relay: &TestRelay) -> i64 {
    relay.peek("SELECT count(*) FROM intents")
}

/// The id of the event that a request became.
fn event_id(reply: &Reply) -> String {
    match reply.header("relay-event-id") {
        Some(id) => id.to_owned(),
        None => reply.json()["event_id"].as_str().expect("an id").to_owned(),
    }
}

/// Providers whose certificates have to be fetched: their vectors are verified in the unit tests,
/// and a build that contacts nobody refuses them.
fn fetches_certificates(request: &Request) -> bool {
    !request.certificates.is_empty()
}

fn answer_status(provider: &Provider) -> u16 {
    let answer = provider
        .source
        .get("answer")
        .and_then(|answer| answer.as_table());
    let Some(answer) = answer else { return 202 };
    let status = answer
        .get("status")
        .and_then(toml::Value::as_integer)
        .unwrap_or(200);
    u16::try_from(status).expect("a status")
}

#[test]
fn the_real_event_of_each_provider_is_stored() {
    for provider in all() {
        let name = &provider.name;
        let request = &provider.vectors[provider.event].request;
        if fetches_certificates(request) {
            continue;
        }
        let mut relay = start(name, request);
        let reply = send(&relay, name, request);
        assert_eq!(
            reply.status,
            answer_status(&provider),
            "{name}: {}",
            reply.text()
        );
        let id = event_id(&reply);
        let event = relay.client.get(&format!("/events/{id}")).json();
        let body = request.body();
        let document = serde_json::from_slice::<Value>(&body);
        let expected =
            document.unwrap_or_else(|_| Value::String(String::from_utf8(body).expect("text")));
        assert_eq!(event["payload"], expected, "{name}");
        let again = send(&relay, name, request);
        assert_eq!(again.status, reply.status, "{name}: {}", again.text());
        let is_duplicate = event_id(&again) == id;
        let has_key = provider.source["idempotency"].as_str() != Some("none");
        assert_eq!(is_duplicate, has_key, "{name}");
        relay.stop();
    }
}

#[test]
fn a_request_of_a_stranger_is_refused_by_each_provider() {
    for provider in all() {
        let name = &provider.name;
        let mut request = provider.vectors[provider.event].request.clone();
        if fetches_certificates(&request) {
            continue;
        }
        let mut relay = start(name, &request);
        request
            .headers
            .retain(|header, _| header.eq_ignore_ascii_case("content-type"));
        request.query.clear();
        request.body_base64 = None;
        request.body = "{}".to_owned();
        let reply = send(&relay, name, &request);
        assert_eq!(reply.status, 401, "{name}: {}", reply.text());
        assert_eq!(events(&relay), 0, "{name}");
        relay.stop();
    }
}

/// The header that carries a token or a password ends at relay.
#[test]
fn no_token_of_a_provider_is_stored() {
    needs_a_file!("its bytes are read");
    for provider in all()
        .iter()
        .filter(|provider| provider.verified_by == "token")
    {
        let name = &provider.name;
        let request = &provider.vectors[provider.event].request;
        let body = String::from_utf8(request.body()).expect("text");
        let secret = &request.secrets[0];
        // Microsoft Graph's stands in the body, which is delivered as it came.
        if body.contains(secret) {
            continue;
        }
        let mut relay = start(name, request);
        assert_eq!(
            send(&relay, name, request).status,
            answer_status(provider),
            "{name}"
        );
        relay.stop();
        for file in ["relay.db", "relay.db-wal"] {
            let bytes = std::fs::read(relay.directory.path().join(file)).unwrap_or_default();
            let holds = |text: &str| {
                bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            };
            assert!(!holds(secret), "{name}: {file} holds the secret");
        }
    }
}

/// A request with the settings of the provider's event, where it has none of its own.
fn with_settings_of_event(provider: &Provider, request: &Request) -> Request {
    let event = &provider.vectors[provider.event].request;
    let mut request = request.clone();
    if request.secrets.is_empty() && request.public_keys.is_empty() {
        request.secrets.clone_from(&event.secrets);
        request.public_keys.clone_from(&event.public_keys);
    }
    if request.public_url.is_none() {
        request.public_url.clone_from(&event.public_url);
    }
    request
}

#[test]
fn the_handshakes_of_each_provider_are_answered_and_not_stored() {
    let mut answered = 0;
    for provider in all() {
        let name = &provider.name;
        for (at, handshake) in provider.handshake_vectors.iter().enumerate() {
            let mut request = with_settings_of_event(&provider, &handshake.request);
            if handshake.armed == Some(true) {
                request.secrets.clear();
            }
            let mut relay = start(name, &request);
            if handshake.armed == Some(true) {
                expect_secret(&relay, name);
            }
            let reply = send(&relay, name, &request);
            let shown = format!("{name}, handshake {at}: {} {}", reply.status, reply.text());
            assert_eq!(reply.status, handshake.status, "{shown}");
            for (header, value) in &handshake.answer_headers {
                assert_eq!(
                    reply.header(header),
                    Some(value.as_str()),
                    "{shown}: {header}"
                );
            }
            if handshake.status < 300 {
                answered += 1;
                match serde_json::from_str::<Value>(&handshake.answer) {
                    Ok(Value::Object(expected)) => {
                        assert_eq!(reply.json(), Value::Object(expected), "{shown}");
                    }
                    _ => assert_eq!(reply.text(), handshake.answer, "{shown}"),
                }
            }
            assert_eq!(events(&relay), 0, "{shown}");
            relay.stop();
        }
    }
    assert!(answered > 10, "{answered}");
}

/// Makes a source expect the secret of a handshake, as an operator does.
fn expect_secret(relay: &TestRelay, source: &str) {
    let mut command = Process::command(relay.directory.path());
    let output = command.args(["secrets", "expect", source]).output();
    let output = output.expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}: {error}");
}

/// The lines of the page, with the operator's own values, are a configuration that starts.
#[test]
fn the_lines_to_paste_are_a_configuration() {
    for provider in all() {
        let name = &provider.name;
        let request = &provider.vectors[provider.event].request;
        if fetches_certificates(request) && !cfg!(feature = "delivery-http") {
            continue;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut lines = String::new();
        let mut command = Process::command(directory.path());
        for line in provider.needs.iter().filter_map(|need| need.line.as_ref()) {
            let mut line = line.replace("YOUR_HOST", "hooks.example.com");
            if let Some(key) = request.public_keys.first() {
                line = line.replace('…', key);
            }
            for value in request.params.values() {
                let begin = line.find("= \"").unwrap_or(line.len());
                let end = line.rfind('"').unwrap_or(line.len());
                if line.contains('…') {
                    line.replace_range(begin + 3..end, value);
                }
            }
            for (at, variable) in variables(&line).enumerate() {
                let secret = request.secrets.get(at).or(request.secrets.first());
                command.env(variable, secret.map_or("t", String::as_str));
            }
            lines.push_str(&line);
            lines.push('\n');
        }
        let toml = format!(
            "[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
             [sources.{name}]\nprovider = \"{name}\"\n{lines}destinations = [\"orders\"]\n"
        );
        std::fs::write(directory.path().join("relay.toml"), &toml).expect("writing relay.toml");
        let output = command.arg("check").output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}\n{toml}");
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains(&format!("[sources.{name}")), "{name}: {said}");
    }
}

/// The names of variables in a line such as `secrets_env = ["A", "B"]`.
fn variables(line: &str) -> impl Iterator<Item = &str> {
    let values = line.split_once("_env = ").map_or("", |(_, values)| values);
    values.split('"').skip(1).step_by(2)
}

/// A setting that a provider needs is named when it is missing.
#[test]
fn a_missing_setting_of_a_provider_is_named() {
    for provider in all() {
        let name = &provider.name;
        if fetches_certificates(&provider.vectors[provider.event].request)
            && !cfg!(feature = "delivery-http")
        {
            continue;
        }
        for need in provider.needs.iter().filter(|need| need.line.is_some()) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = directory.path().join("relay.toml");
            let mut request = provider.vectors[provider.event].request.clone();
            add_hub_token(name, &mut request);
            match need.name.as_str() {
                "secrets_env" | "secrets_env or public_keys" => request.secrets.clear(),
                "public_keys" => request.public_keys.clear(),
                "server.public_url" => request.public_url = None,
                "hub_tokens_env" => request.hub_tokens.clear(),
                parameter => {
                    let parameter = parameter.strip_prefix("params.").expect("a parameter");
                    request.params.remove(parameter).expect("the vector has it");
                }
            }
            if !provider
                .needs
                .iter()
                .any(|need| need.name == "hub_tokens_env")
            {
                request.hub_tokens.clear();
            }
            std::fs::write(&file, configuration(name, &request)).expect("writing relay.toml");
            let error = Config::load(Some(&file)).expect_err(name).to_string();
            let key = need.name.split(' ').next().expect("a key");
            assert!(
                error.contains(key) && error.contains(name.as_str()),
                "{name}: {error}"
            );
        }
    }
}
