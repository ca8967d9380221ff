//! The files of `providers/`: each connects a well-known sender of webhooks. Their vectors are sent
//! to a relay here, and docs/sources.md is made of them.

mod advice;
mod page;
mod requests;
mod sends;
mod table;
mod watched;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use toml::Table;

/// A file of `providers/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    /// The file's name, without its ending.
    #[serde(skip)]
    name: String,
    title: String,
    docs: String,
    verified_by: String,
    /// The origin of each fact, and the facts that could not be confirmed.
    confirmed: String,
    /// The reason why the provider is connected only in part.
    missing: Option<String>,
    setup: Vec<String>,
    notes: Vec<String>,
    /// The vector that is a real event, which has to be stored.
    event: usize,
    #[serde(default)]
    needs: Vec<Need>,
    source: Table,
    vectors: Vec<Vector>,
    #[serde(default)]
    handshake_vectors: Vec<Handshake>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Need {
    name: String,
    about: String,
    line: Option<String>,
}

/// The settings of the operator, and the request of the provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    secrets: Vec<String>,
    public_keys: Vec<String>,
    hub_tokens: Vec<String>,
    params: BTreeMap<String, String>,
    public_url: Option<String>,
    /// The certificates that the request refers to, by their address.
    certificates: BTreeMap<String, String>,
    method: String,
    path: Option<String>,
    query: String,
    /// Unix seconds of its arrival; none if the scheme has no time.
    time: Option<i64>,
    headers: BTreeMap<String, String>,
    body: String,
    body_base64: Option<String>,
}

/// A request that verifies.
#[derive(Debug, Deserialize)]
struct Vector {
    origin: String,
    #[serde(flatten)]
    request: Request,
}

/// A request that is answered, and not stored.
#[derive(Debug, Deserialize)]
struct Handshake {
    #[serde(flatten)]
    request: Request,
    /// Whether the source expects a secret, by `relay secrets expect`.
    #[serde(default)]
    armed: Option<bool>,
    status: u16,
    #[serde(default)]
    answer: String,
    #[serde(default)]
    answer_headers: BTreeMap<String, String>,
}

impl Request {
    fn body(&self) -> Vec<u8> {
        match &self.body_base64 {
            Some(text) => STANDARD.decode(text).expect("base64"),
            None => self.body.clone().into_bytes(),
        }
    }

    /// The target of the request line.
    fn target(&self, name: &str) -> String {
        let path = self.path.clone();
        let path = path.unwrap_or_else(|| format!("/webhooks/{name}"));
        if self.query.is_empty() {
            path
        } else {
            format!("{path}?{}", self.query)
        }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/providers"))
}

/// All providers, in the order of their names.
fn all() -> Vec<Provider> {
    let entries = std::fs::read_dir(folder()).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let shown = path.display();
            let text = std::fs::read_to_string(path).expect("text");
            let provider = toml::from_str(&text);
            let mut provider: Provider = provider.unwrap_or_else(|e| panic!("{shown}: {e}"));
            let name = path.file_stem().expect("a name").to_string_lossy();
            provider.name = name.into_owned();
            provider
        })
        .collect()
}

#[test]
fn every_file_says_what_an_operator_needs() {
    let providers = all();
    assert!(providers.len() >= 50, "{}", providers.len());
    for provider in &providers {
        let name = &provider.name;
        assert!(
            provider.docs.starts_with("https://"),
            "{name}: {}",
            provider.docs
        );
        assert!(
            !provider.confirmed.is_empty() && !provider.setup.is_empty(),
            "{name}"
        );
        assert!(!provider.notes.is_empty(), "{name}");
        assert!(
            ["published vector", "documented scheme", "token"].contains(&&*provider.verified_by),
            "{name}: {}",
            provider.verified_by
        );
        let has_published = provider
            .vectors
            .iter()
            .any(|vector| vector.origin.starts_with("published"));
        assert_eq!(
            provider.verified_by == "published vector",
            has_published,
            "{name}"
        );
        for need in &provider.needs {
            assert!(!need.about.is_empty(), "{name}: {}", need.name);
        }
    }
}

/// The event that must be stored has a path of this relay, as it stands under the provider's name.
#[test]
fn every_file_has_a_real_event() {
    for provider in all() {
        let event = &provider.vectors[provider.event];
        let expected = format!("/webhooks/{}", provider.name);
        assert_eq!(
            event.request.path.as_ref(),
            Some(&expected),
            "{}",
            provider.name
        );
    }
}
