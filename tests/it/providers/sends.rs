//! `relay send` stands in for a provider: the relay verifies the request that it makes up.

use std::path::Path;
use std::process::Output;

use super::requests::{SERVER, add_hub_token, section};
use super::{Provider, all};
use crate::support::Process;

/// The secrets of a dry run that must not be shown.
const TOKENS: [&str; 2] = ["token", "basic"];

fn send(directory: &Path, address: &str, args: &[&str]) -> Output {
    Process::command(directory)
        .env("RELAY_HTTP_ADDR", address)
        .arg("send")
        .args(args)
        .output()
        .expect("the binary runs")
}

fn uses(provider: &Provider, schemes: &[&str]) -> bool {
    let verify = provider
        .source
        .get("verify")
        .and_then(toml::Value::as_table);
    let any = provider
        .source
        .get("verify_any")
        .and_then(toml::Value::as_array);
    let any = any.into_iter().flatten().filter_map(toml::Value::as_table);
    let mut tables = verify.into_iter().chain(any);
    tables.any(|table| schemes.iter().any(|scheme| table.contains_key(*scheme)))
}

/// A file with the body of each provider's event, and one configuration of them all.
fn prepare(directory: &Path, providers: &[Provider]) -> String {
    let mut toml = SERVER.to_owned();
    for provider in providers {
        // A build that contacts nobody refuses them.
        if provider.source.to_string().contains("certificate_url") {
            continue;
        }
        let mut request = provider.vectors[provider.event].request.clone();
        add_hub_token(&provider.name, &mut request);
        std::fs::write(directory.join(&provider.name), request.body()).expect("writing");
        toml.push_str(&section(&provider.name, &request));
    }
    toml
}

#[test]
fn a_request_that_relay_send_makes_up_is_verified() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let providers = all();
    let process = Process::serve(directory.path(), &prepare(directory.path(), &providers));
    let address = process.client.address().to_string();
    for provider in &providers {
        let name = provider.name.as_str();
        if provider.source.to_string().contains("certificate_url") {
            continue;
        }
        let output = send(directory.path(), &address, &[name, name]);
        let error = String::from_utf8_lossy(&output.stderr);
        if uses(provider, &["public_key"]) {
            assert!(!output.status.success(), "{name}");
            assert!(
                error.contains("only its sender has the private key"),
                "{name}: {error}"
            );
            continue;
        }
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {error}");
        assert!(said.starts_with('2'), "{name}: {said}");
    }
    process.kill();
}

#[test]
fn a_dry_run_sends_nothing_and_shows_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let providers = all();
    let toml = prepare(directory.path(), &providers);
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing relay.toml");
    for provider in providers
        .iter()
        .filter(|provider| !uses(provider, &["public_key"]))
    {
        let name = provider.name.as_str();
        // Nobody listens there.
        let output = send(directory.path(), "127.0.0.1:9", &[name, name, "--dry-run"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}");
        let said = String::from_utf8_lossy(&output.stdout);
        let target = format!("http://127.0.0.1:9/webhooks/{name}");
        assert!(
            said.contains(&target) && said.contains("would go to orders"),
            "{name}: {said}"
        );
        let secret = &provider.vectors[provider.event].request.secrets[0];
        assert!(!said.contains(secret.as_str()), "{name}: {said}");
        assert_eq!(
            said.contains("***"),
            uses(provider, &TOKENS),
            "{name}: {said}"
        );
    }
}

/// A shell that sends for one source need not have the secrets of the others.
#[test]
fn relay_send_reads_the_secrets_of_its_source_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = format!(
        "{SERVER}[sources.one]\nprovider = 'github'\nsecrets_env = 'ONE'\ndestinations = ['orders']\n\
         [sources.two]\nprovider = 'github'\nsecrets_env = 'TWO'\ndestinations = ['orders']\n\
         [sources.plain]\ndestinations = ['orders']\n"
    );
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing relay.toml");
    std::fs::write(directory.path().join("payload"), "{}").expect("writing");
    let run = |source: &str| {
        let mut command = Process::command(directory.path());
        command
            .env("ONE", "secret")
            .args(["send", source, "payload", "--dry-run"]);
        let output = command.output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), error)
    };
    assert_eq!(run("one"), (true, String::new()));
    std::fs::write(directory.path().join("payload"), "no JSON").expect("writing");
    let mut command = Process::command(directory.path());
    let output = command
        .args(["send", "plain", "payload", "--dry-run"])
        .output();
    let said = String::from_utf8_lossy(&output.expect("the binary runs").stdout).into_owned();
    assert!(
        said.contains("would be refused: the body is not JSON"),
        "{said}"
    );
    let (is_done, error) = run("two");
    assert!(!is_done && error.contains("\"TWO\""), "{error}");
    let (is_done, error) = run("three");
    assert!(
        !is_done && error.contains("there is no source \"three\""),
        "{error}"
    );
}

/// The signature and the key are those of the document, and the bytes those of the file.
#[test]
fn a_compressed_payload_is_signed_as_its_sender_would() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = format!(
        "{SERVER}[sources.a]\ndestinations = ['orders']\ndecode = 'gzip'\n\
         idempotency = {{ json_pointer = '/id' }}\n\
         verify.hmac = {{ header = 'X-Signature', secrets = ['k'] }}\n"
    );
    let process = Process::serve(directory.path(), &toml);
    let address = process.client.address().to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"{\"id\":1}").expect("memory");
    let compressed = encoder.finish().expect("memory");
    std::fs::write(directory.path().join("payload"), compressed).expect("writing");
    let args = ["a", "payload", "--header", "Content-Encoding: gzip"];
    let sent = send(directory.path(), &address, &args);
    let error = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.success(), "{error}");
    std::fs::write(directory.path().join("payload"), "{}").expect("writing");
    let sent = send(directory.path(), &address, &args);
    let error = String::from_utf8_lossy(&sent.stderr);
    assert!(
        !sent.status.success() && error.contains("can't be decoded"),
        "{error}"
    );
    process.kill();
}
