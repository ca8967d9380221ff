//! Secrets, conditions and parameters of sources, and the templates that need them.

use super::load;
use crate::config::*;

/// Loads a source; the text is the content of `[sources.a]`.
fn load_source(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let text =
        format!("[destinations.d]\nurl = 'http://x/'\n[sources.a]\ndestinations = ['d']\n{text}");
    load(&text, env)
}

/// Sources that are refused, and what their errors contain.
const REFUSED: &[(&str, &str)] = &[
    (
        "[sources.a.verify]",
        "sources.a.verify: expected a table of one of standard_webhooks, hmac, token, basic",
    ),
    (
        "verify.token = { header = 'X', secrets = ['s'] }\nverify.basic = { user = 'u', secrets = ['s'] }",
        "public_key; several schemes stand in verify_any",
    ),
    (
        "verify = 'hmac'",
        "expected a table of one of standard_webhooks",
    ),
    (
        "secrets = ['s']\nsecrets = ['t']",
        "duplicate key secrets: expected each key and each table once",
    ),
    (
        "secrets = ['s']",
        "sources.a.secrets: nothing is verified with it: expected sources.a.verify, too",
    ),
    (
        "secrets = ['s']\nverify.token = { header = 'X', secrets = ['t'] }",
        "sources.a.verify.token.secrets: contradicts sources.a.secrets",
    ),
    (
        "verify.token = { header = 'X', value = '{query.a}', secrets = ['s'] }",
        "sources.a.verify.token.value: contradicts header",
    ),
    (
        "verify.token = { secrets = ['s'] }",
        "sources.a.verify.token.header: missing",
    ),
    (
        "verify.token = { value = 'x', secrets = ['s'] }",
        "sources.a.verify.token.value: \"x\": expected a part of the request",
    ),
    (
        "verify.token = { value = '{path}', secrets = ['s'] }",
        "sources.a.verify.token.value: \"{path}\": expected a part of the request that may hold a",
    ),
    (
        "idempotency = { query = 'id' }\nverify.token = { value = '{query}', secrets = ['s'] }",
        "sources.a.idempotency: \"id\": expected another place: verify's secret is there",
    ),
    (
        "verify.token = { header = 'Authorization', prefix = 'bearer', secrets = ['s'] }",
        "sources.a.verify.token.prefix: \"bearer\": expected \"bearer \": a blank stands before",
    ),
    (
        "verify.token = { header = 'X', prefix = ' a', secrets = ['s'] }",
        "sources.a.verify.token.prefix: \" a\": expected a text that a header begins with",
    ),
    (
        "verify.token = { header = 'X' }",
        "sources.a.verify.token.secrets: []: expected at least one secret",
    ),
    (
        "forward_authorization = true\nverify.basic = { user = 'u', secrets = ['s'] }",
        "sources.a.forward_authorization: contradicts verify",
    ),
    (
        "verify.basic = { user = 'a:b', secrets = ['s'] }",
        "sources.a.verify.basic.user: \"a:b\": expected a user's name without a colon",
    ),
    (
        "verify.public_key = { algorithm = 'ed25519', header = 'X' }",
        "sources.a.verify.public_key.public_keys: []: expected at least one public key",
    ),
    (
        "verify.public_key = { algorithm = 'ed25519', header = 'X', public_keys = ['00'] }",
        "public_key.public_keys: \"00\": expected an Ed25519 public key",
    ),
    (
        "verify.public_key = { algorithm = 'rsa_md5', header = 'X' }",
        "unknown variant `rsa_md5`",
    ),
    (
        "verify.public_key = { algorithm = 'rsa_sha256', header = 'X', certificate_url = '{x}' }",
        "public_key.certificate_hosts: []: expected the hosts",
    ),
    (
        "verify.public_key = { algorithm = 'rsa_sha256', header = 'X', certificate_url = '{x}', \
         certificate_hosts = ['*.com'] }",
        "public_key.certificate_hosts: \"*.com\": expected a host in lower case",
    ),
    (
        "verify.standard_webhooks.public_keys = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
        "standard_webhooks.public_keys: *** (number 1): expected whpk_",
    ),
    (
        "verify.standard_webhooks.public_keys = ['whpk_short']",
        "standard_webhooks.public_keys: \"whpk_short\": expected whpk_",
    ),
    (
        "verify.public_key = { algorithm = 'ed25519', header = 'X', \
         public_keys = ['-----BEGIN PRIVATE KEY-----\\nMC4=\\n-----END PRIVATE KEY-----'] }",
        "public_key.public_keys: *** (number 1): expected an Ed25519 public key",
    ),
    (
        "verify.hmac = { header = 'X', secret_encoding = 'hex', secrets = ['xyz'] }",
        "sources.a.verify.hmac.secrets: *** (number 1): expected hexadecimal",
    ),
    (
        "verify.hmac = { header = 'X', secret_encoding = 'base64', secrets = ['='] }",
        "sources.a.verify.hmac.secrets: *** (number 1): expected base64 of at least one byte",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{param.id}{body}', secrets = ['s'] }",
        "sources.a.params.id: missing: sources.a.verify.hmac.signed needs it",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{url}{body}', secrets = ['s'] }",
        "sources.a.verify.hmac.signed: \"{url}{body}\": {url}: expected server.public_url",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{form_sorted}', secrets = ['s'] }",
        "{form_sorted}: expected sources.a.accept_any_content = true",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{json./a?}', secrets = ['s'] }",
        "sources.a.verify.hmac.signed: \"{json./a?}\": expected something such as",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{json./a', secrets = ['s'] }",
        "sources.a.verify.hmac.signed: \"{json./a\": {json./a: expected a } that closes it",
    ),
    (
        "verify.hmac = { signature = '{timestamp}', secrets = ['s'] }",
        "sources.a.verify.hmac.signature: \"{timestamp}\": {timestamp}: expected a part",
    ),
    (
        "verify.hmac = { header = 'X', signature = '{x}', secrets = ['s'] }",
        "sources.a.verify.hmac.header: contradicts signature",
    ),
    (
        "verify.hmac = { signature = '{json./s}', secrets = ['s'] }",
        "sources.a.verify.hmac.signed: \"{body}\": expected content without the signature, which \
         stands in {json./s}",
    ),
    (
        "verify.hmac = { signature = '{json./s}', signed = '{json./id}{body_crc32}', \
         secrets = ['s'] }",
        "content without the signature, which stands in {json./s}",
    ),
    (
        "verify.hmac = { signature = '{json./s}', signed = '{json./id}{json./s}', secrets = ['s'] }",
        "content without the signature, which stands in {json./s}",
    ),
    (
        "accept_any_content = true\n\
         verify.hmac = { signature = '{form.s}', signed = '{form_sorted}', secrets = ['s'] }",
        "content without the signature, which stands in {form.s}",
    ),
    (
        "verify.hmac = { header = 'X', signed = '{body}{header.x}', secrets = ['s'] }",
        "sources.a.verify.hmac.signed: \"{body}{header.x}\": expected content without the \
         signature, which stands in X",
    ),
    (
        "verify.hmac = { header = ['X', 'Y'], signed = '{y}{x}{body}', secrets = ['s'] }",
        "content without the signature, which stands in X, Y",
    ),
    (
        "verify.hmac = { signature = '{x}', signed = '{x}{body}', secrets = ['s'] }",
        "content without the signature, which stands in {header.x}",
    ),
    (
        "verify.hmac = { signature = '{query.s}', signed = '{query}{body}', secrets = ['s'] }",
        "content without the signature, which stands in {query.s}",
    ),
    (
        "public_url = 'http://x'\n\
         verify.hmac = { signature = '{query.s}', signed = '{url}{body}', secrets = ['s'] }",
        "content without the signature, which stands in {query.s}",
    ),
    (
        "verify.hmac = { header = 'X', timestamp = '{x-t}', secrets = ['s'] }",
        "a time that isn't signed proves nothing",
    ),
    (
        "verify.hmac = { header = 'X', tolerance = '8d', secrets = ['s'] }",
        "sources.a.verify.hmac.tolerance: 691200s: expected 1ms to 7d",
    ),
    (
        "verify.token = { header = 'X', secrets = ['s'] }\n[[sources.a.verify_any]]\n\
         token = { header = 'X', secrets = ['s'] }",
        "sources.a.verify_any: contradicts verify",
    ),
    (
        "[[sources.a.verify_any]]",
        "sources.a.verify_any[0]: expected one of standard_webhooks, hmac",
    ),
    (
        "require.body.kind = ['a']",
        "sources.a.require.body: \"kind\": expected a JSON pointer",
    ),
    (
        "require.body.'/kind' = []",
        "sources.a.require.body./kind: []: expected at least one value",
    ),
    (
        "require.body.'/kind' = [{ min = 2, max = 1 }]",
        "sources.a.require.body./kind: min: expected at most max",
    ),
    (
        "require.body.'/n' = [nan]",
        "expected a finite number: JSON has no other",
    ),
    (
        "require.body.'/n' = [{ min = -inf }]",
        "expected a finite number: JSON has no other",
    ),
    (
        "require.body.'/n' = [{ min = 1, prefix = 'a' }]",
        "sources.a.require.body./n: min or max: expected operators of texts or of numbers",
    ),
    (
        "require.body.'/n' = [{ equals_ignore_case = 'abc', suffix = 'd' }]",
        "sources.a.require.body./n: \"abc\": expected an equals_ignore_case that has the prefix",
    ),
    (
        "require.headers = { X-A = ['a'], x-a = ['b'] }",
        "sources.a.require.headers: \"x-a\": expected each header once",
    ),
    (
        "require.headers.X-A = ['a ']",
        "sources.a.require.headers.X-A: \"a \": expected a text that a header can have",
    ),
    (
        "require.headers.X-A = [\"a\\nb\"]",
        "sources.a.require.headers.X-A: \"a\\nb\": expected a text that a header can have",
    ),
    (
        "handshakes = [{ method = 'POST', signed = false, when.headers.X-A = [' a'] }]",
        "sources.a.handshakes[0].when.headers.X-A: \" a\": expected a text that a header",
    ),
    (
        "require.headers.x = [1]",
        "sources.a.require.headers.x: 1: expected a text",
    ),
    (
        "require.query.x = ['{param.y}']",
        "sources.a.params.y: missing: sources.a.require needs it",
    ),
    (
        "require.body.'/a' = [{ prefx = 'a' }]",
        "unknown field `prefx`",
    ),
    (
        "idempotency = { header = 'x-token' }\n\
         verify.token = { header = 'X-Token', secrets = ['s'] }",
        "sources.a.idempotency: \"x-token\": expected another place",
    ),
    (
        "idempotency = { query = 'token' }\n\
         verify.token = { value = '{query.token}', secrets = ['s'] }",
        "sources.a.idempotency: \"token\": expected another place",
    ),
    (
        "event_type = { header = 'x-token' }\n\
         verify.token = { header = 'X-Token', secrets = ['s'] }",
        "sources.a.event_type: \"x-token\": expected another place",
    ),
    (
        "public_url = 'hooks.example.com'",
        "sources.a.public_url: \"hooks.example.com\": expected a URL",
    ),
    (
        "public_url = 'https://a/?b'",
        "sources.a.public_url: \"https://a/?b\": expected a URL without a query",
    ),
    (
        "allow_ips = ['192.0.2.0/24', '2001:db8::1']",
        "sources.a.allow_ips[1]: \"2001:db8::1\": expected a network such as",
    ),
    (
        "allow_ips = []",
        "sources.a.allow_ips: []: expected at least one; without the key nothing is checked",
    ),
    (
        "provider = 'github'\nverify_any = []",
        "sources.a.verify_any: []: expected at least one",
    ),
];

#[test]
fn a_source_that_could_not_be_verified_is_refused() {
    let fetches = crate::COMPILED_LEVEL >= crate::model::Level::Http;
    for (text, expected) in REFUSED {
        let error = load_source(text, &[]).expect_err(text);
        if text.contains("certificate_url") && !fetches {
            assert!(error.contains("this one contacts nobody"), "{error}");
            continue;
        }
        assert!(
            error.contains(expected),
            "{text:?}\n  gave {error}\n  not  {expected}"
        );
    }
}

#[test]
fn sources_of_every_scheme_are_valid() {
    for text in [
        "secrets = ['s']\nverify.token.header = 'X'",
        "verify.token = { value = '{query.token}', secrets = ['s'] }",
        "verify.hmac = { header = ['A', 'B'], secrets = ['s'] }",
        "verify.hmac = { header = 'A', signed = '{timestamp}{body}', timestamp_header = 'T', \
         tolerance = '4d', secrets = ['s'] }",
        "public_url = 'https://a'\nverify.hmac = { header = 'A', signed = '{url}{body}', \
         secrets = ['s'] }",
        // The time is a part of the body that is signed.
        "verify.hmac = { header = 'A', timestamp = '{json./t}', secrets = ['s'] }",
        "verify.hmac = { header = 'A', timestamp_header = 'T', signed = '{t}{body}', \
         secrets = ['s'] }",
        "params.id = '1'\nverify.hmac = { header = 'A', signed = '{param.id}{body}', \
         secrets = ['s'] }",
        "public_keys = ['fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025']\n\
         verify.public_key = { algorithm = 'ed25519', header = 'X' }",
        "allow_ips = ['192.0.2.0/24']\nrequire.body.'/a' = ['b', 1, { exists = false }]",
        "require.headers = { X-A = ['', \"a\\tb\", '{header.x-b}', { exists = false }] }\n\
         require.query.a = [' a ', \"\\n\"]\n\
         require.body.'/n' = [0, { min = -1, max = 1.5 }, \
         { equals_ignore_case = 'aBc', prefix = 'AB', suffix = 'c', contains = 'b' }]",
    ] {
        load_source(text, &[]).expect(text);
    }
}

#[test]
fn a_variable_holds_one_secret() {
    let secrets = |names: &str, env: &[(&str, &str)]| {
        let text = format!("secrets_env = {names}\nverify.token.header = 'X'");
        let config = load_source(&text, env)?;
        let secrets = config.sources["a"].secrets.iter().map(Secret::reveal);
        Ok::<_, String>(secrets.map(str::to_owned).collect::<Vec<_>>())
    };
    let comma = &[("S", "correct,horse"), ("T", " battery\n")];
    assert_eq!(
        secrets("['S', 'T']", comma).expect("two variables"),
        ["correct,horse", "battery"]
    );
    assert_eq!(secrets("'T'", comma).expect("one variable"), ["battery"]);
    let error = secrets("'S'", comma).expect_err("a comma under the old form");
    assert!(
        error.contains(
            "sources.a.secrets_env: \"S\": the value has a comma, and a variable holds one \
             secret: expected secrets_env = [\"S\"] if the comma is part of it, or a variable \
             for each secret"
        ),
        "{error}"
    );
    assert!(!error.contains("horse"), "{error}");
    let error = secrets("['T', 'U']", comma).expect_err("a variable that isn't set");
    assert!(
        error.contains("\"U\": expected a variable that holds a secret"),
        "{error}"
    );
    let destination = "[delivery]\nlevel = 'off'\n[destinations.d]\nurl = 'http://x/'\n\
                       secrets_env = 'S'";
    let error = load(destination, comma).expect_err("a comma under the old form");
    assert!(error.contains("destinations.d.secrets_env: \"S\": the value has a comma"));
    let error = load("[api]\nkeys_env = 'S'", comma).expect_err("a comma under the old form");
    assert!(error.contains("expected keys_env = [\"S\"]"), "{error}");
    let keys = load("[api]\nkeys_env = ['S']", comma).expect("a list");
    assert_eq!(keys.api.keys, [Secret::new("correct,horse")]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("keys");
    std::fs::write(&file, "\u{feff}one\ntwo\n").expect("writing the file");
    let config = load(&format!("[api]\nkeys_file = '{}'", file.display()), &[]);
    let keys = config.expect("keys").api.keys;
    assert_eq!(keys, [Secret::new("one"), Secret::new("two")]);
}

#[test]
fn public_keys_come_from_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("keys");
    let key = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n\
               -----END PUBLIC KEY-----\n";
    for (text, count) in [
        (format!("{key}\n\n{key}\n"), 2),
        (format!("{pem}{pem}"), 2),
        (pem.to_owned(), 1),
    ] {
        std::fs::write(&file, text).expect("writing the file");
        let source = format!(
            "public_keys_file = '{}'\n\
             verify.public_key = {{ algorithm = 'ed25519', header = 'X' }}",
            file.display()
        );
        let config = load_source(&source, &[]).expect("keys");
        assert_eq!(config.sources["a"].public_keys.len(), count);
    }
}

#[test]
fn the_secret_of_a_token_ends_at_relay() {
    let text = "[[sources.a.verify_any]]\ntoken = { header = 'X-Token', secrets = ['s'] }\n\
                [[sources.a.verify_any]]\nbasic = { user = 'u', secrets = ['s'] }\n\
                [[sources.a.verify_any]]\n\
                token = { value = '{query.token}{header.X-Other}', secrets = ['s'] }";
    let resolved = load_source(text, &[]).expect("schemes").resolve();
    let source = resolved.source("a").expect("a source");
    assert_eq!(
        source.secret_headers,
        ["x-token", "authorization", "x-other"]
    );
    assert_eq!(source.secret_query_fields, ["token"]);
}

#[test]
fn a_query_that_may_hold_a_token_is_not_kept() {
    for (value, expected) in [
        ("{query}", ForwardQuery::Drop),
        ("{path}?{query}", ForwardQuery::Drop),
        ("{json./a}{?json./b|{url}}", ForwardQuery::Drop),
        ("{query.token}", ForwardQuery::Append),
        ("{header.X}", ForwardQuery::Append),
    ] {
        let text = format!(
            "public_url = 'http://x'\nforward_query = 'append'\n\
             verify.token = {{ value = '{value}', secrets = ['s'] }}"
        );
        let resolved = load_source(&text, &[]).expect(&text).resolve();
        let source = resolved.source("a").expect("a source");
        assert_eq!(source.forward_query, expected, "{value}");
    }
}

#[test]
fn notes_tell_the_price_of_a_setting() {
    let notes = |text: &str| load_source(text, &[]).expect(text).notes();
    let body = "the body is not protected by the signature";
    for (text, expected) in [
        ("", &[][..]),
        ("verify.hmac = { header = 'X', secrets = ['s'] }", &[]),
        ("verify.token = { header = 'X', secrets = ['s'] }", &[body]),
        (
            "verify.hmac = { header = 'X', signed = '{header.Y}', secrets = ['s'] }",
            &[body],
        ),
        (
            "idempotency = { header = 'x' }\nverify.hmac = { header = 'X', secrets = ['s'] }",
            &["sources.a.idempotency: x carries the signature"],
        ),
        (
            "idempotency = [{ headers = ['y', 'X'] }, 'body']\n\
             verify.hmac = { header = 'X', secrets = ['s'] }",
            &["sources.a.idempotency: X carries the signature"],
        ),
        (
            "verify.standard_webhooks.secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
            &["destinations.d has no secrets, and gets the provider's signature"],
        ),
        (
            "verify.hmac = { header = 'X', timestamp = '{json./t}', tolerance = '2h', \
             secrets = ['s'] }",
            &[
                "sources.a.verify.hmac.tolerance: longer than the idempotency window",
                "destinations.d has no secrets",
            ],
        ),
        (
            "idempotency = { header = 'Svix-Signature' }\n[sources.a.verify.standard_webhooks]\n\
             tolerance = '2h'\nsecrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
            &[
                "standard_webhooks.tolerance: longer than the idempotency window",
                "sources.a.idempotency: Svix-Signature carries the signature",
                "destinations.d has no secrets",
            ],
        ),
        (
            "idempotency = { json_pointer = '/s' }\n\
             verify.hmac = { signature = '{json./s}', signed = '{json./id}', secrets = ['s'] }",
            &[body, "sources.a.idempotency: /s carries the signature"],
        ),
        (
            "idempotency = { query = 's' }\n\
             verify.hmac = { signature = '{query.s}', secrets = ['s'] }",
            &["sources.a.idempotency: s carries the signature"],
        ),
        (
            "accept_any_content = true\n\
             verify.hmac = { header = 'X', signed = '{form_sorted}', secrets = ['s'] }",
            &[],
        ),
        (
            "[[sources.a.verify_any]]\nhmac = { header = 'X', secrets = ['s'] }\n\
             [[sources.a.verify_any]]\nhmac = { header = 'Y', secrets = ['s'] }",
            &["sources.a.verify_any: as weak as its weakest scheme"],
        ),
        (
            "accept_any_content = true\nidempotency = [{ form = 'id' }, 'body']\n\
             verify.hmac = { header = 'X', signed = '{form_sorted}', secrets = ['s'] }",
            &["sources.a.idempotency: \"body\": the signature covers the fields of a form"],
        ),
        (
            "decode = 'gzip'\nidempotency = 'body'\n\
             verify.hmac = { header = 'X', secrets = ['s'] }",
            &["sources.a.idempotency: \"body\": the signature covers what was compressed"],
        ),
        (
            "idempotency = 'body'\nverify.hmac = { header = 'X', secrets = ['s'] }",
            &[],
        ),
        (
            "event_type = { header = 'X-Event' }\n\
             routes = [{ to = ['e'], when.headers = { X-Id = ['a'], X-B = ['b'] } }, \
             { to = ['e'], when.headers = { x-b = ['c'] }, when.type = ['d'] }]\n\
             verify.hmac = { header = 'X', signed = '{x-id}{body}', secrets = ['s'] }\n\
             [destinations.e]\nurl = 'http://y/'",
            &["sources.a.routes: the signature does not cover x-b, X-Event: whoever captured"],
        ),
        (
            "event_type = { header = 'X-Event' }\n\
             routes = [{ to = ['e'], when.headers = { X-Id = ['a'], T = ['b'] } }]\n\
             verify.hmac = { header = 'X', signed = '{timestamp}{header.X-Id}{body}', \
             timestamp_header = 't', secrets = ['s'] }\n\
             [destinations.e]\nurl = 'http://y/'",
            &["destinations.d has no secrets"],
        ),
        (
            "routes = [{ to = ['e'], when.headers = { Webhook-Id = ['a'], ce-type = ['b'] } }]\n\
             verify.standard_webhooks.secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']\n\
             [destinations.e]\nurl = 'http://y/'",
            &["does not cover ce-type: ", "destinations.d has no secrets"],
        ),
        (
            "routes = [{ to = ['e'], when.headers = { X = ['a'] } }]\n\
             [destinations.e]\nurl = 'http://y/'",
            &[],
        ),
        (
            "event_type = { json_pointer = '/t' }\n\
             routes = [{ to = ['e'], when.type = ['a'], when.body.'/b' = ['c'] }]\n\
             verify.hmac = { header = 'X', secrets = ['s'] }\n\
             [destinations.e]\nurl = 'http://y/'",
            &[],
        ),
        (
            "[sources.'*']\ndestinations = ['d']\n\
             verify.hmac = { header = 'X', secrets = ['s'] }",
            &["sources.*.verify.hmac: the signature does not cover the source's name"],
        ),
        (
            "[sources.'*']\ndestinations = ['d']\n\
             verify.hmac = { header = 'X', signed = '{path}{body}', secrets = ['s'] }",
            &[],
        ),
    ] {
        let notes = notes(text);
        assert_eq!(notes.len(), expected.len(), "{text}: {notes:?}");
        for (note, expected) in notes.iter().zip(expected) {
            assert!(note.contains(expected), "{note}");
        }
    }
}

#[test]
fn a_signature_may_be_beside_the_signed_content() {
    for scheme in [
        "header = 'X', signed = '{body}{header.Y}'",
        "header = ['X', 'Y'], signed = '{header.X}{body}'",
        "signature = '{json./s}', signed = '{json./id}{url}'",
        "signature = '{query.s}', signed = '{query.id}{body}'",
        "signature = '{header.X}', signed = '{query}{body}'",
    ] {
        let text =
            format!("public_url = 'http://x'\nverify.hmac = {{ {scheme}, secrets = ['s'] }}");
        assert!(load_source(&text, &[]).is_ok(), "{scheme}");
    }
}
