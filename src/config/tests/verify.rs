//! The schemes of `[sources.NAME.verify]`.

use super::load;
use crate::config::*;

/// Schemes that are refused, and what their errors contain. `$SECRET` stands for a secret.
const REFUSED: &[(&str, &str)] = &[
    (
        "public_key]\nalgorithm = 'ed25519'\ncertificate_hosts = 'a.example'",
        "verify.public_key.certificate_hosts: ***: expected a list",
    ),
    (
        "hmac]\nheader = 'X'",
        "sources.a.verify.hmac.secrets: []: expected at least one secret",
    ),
    (
        "standard_webhooks]",
        "sources.a.verify.standard_webhooks.secrets: []: expected at least one secret",
    ),
    (
        "standard_webhooks]\nsecrets = ['whsec_short']",
        "standard_webhooks.secrets: *** (number 1): expected whsec_",
    ),
    (
        "hmac]\nheader = 'X'\nsecrets = ['']",
        "hmac.secrets: *** (number 1): expected a secret that isn't blank",
    ),
    (
        "hmac]\nheader = 'X'\nsecrets = ['env:S']",
        "hmac.secrets: *** (number 1): expected the secret itself",
    ),
    (
        "hmac]\nheader = 'X'\nsecrets_env = 'NONE'",
        "hmac.secrets_env: \"NONE\": expected a variable",
    ),
    (
        "hmac]\n$SECRET",
        "sources.a.verify.hmac.header: \"\": expected the name of an HTTP header",
    ),
    (
        "hmac]\nheader = 'a b'\n$SECRET",
        "hmac.header: \"a b\": expected the name of an HTTP header",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 'sha256='\n$SECRET",
        "hmac.format: \"sha256=\": expected fields such as",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 't={timestamp}'\n$SECRET",
        "hmac.format: \"t={timestamp}\": expected fields such as",
    ),
    (
        "hmac]\nheader = 'X'\nformat = '{signature}{timestamp}'\n$SECRET",
        "expected fields such as",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 'v{timestamp},va{signature}'\nsigned = '{timestamp}{body}'\n$SECRET",
        "hmac.format: \"v{timestamp},va{signature}\": expected each field",
    ),
    (
        "hmac]\nsignature = '{json./s}'\ntimestamp_header = 'a b'\nsigned = '{timestamp}{body}'\n$SECRET",
        "hmac.timestamp_header: \"a b\": expected the name of an HTTP header",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 'v={timestamp},v={signature}'\nsigned = '{timestamp}{body}'\n$SECRET",
        "to begin with a text of its own",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 't={timestamp};a;v={signature}'\nsigned = '{timestamp}{body}'\n$SECRET",
        "to begin with a text of its own",
    ),
    (
        "hmac]\nheader = 'X'\nsigned = '{timestamp}'\n$SECRET",
        "hmac.signed: \"{timestamp}\": expected something such as",
    ),
    (
        "hmac]\nheader = 'X'\nsigned = '{timestamp}.{body}'\n$SECRET",
        "neither format nor timestamp_header says where",
    ),
    (
        "hmac]\nheader = 'X'\ntimestamp_header = 'T'\n$SECRET",
        "a time that isn't signed proves nothing",
    ),
    (
        "hmac]\nheader = 'X'\nformat = 't={timestamp},v1={signature}'\ntimestamp_header = 'T'\nsigned = '{timestamp}{body}'\n$SECRET",
        "contradicts format",
    ),
    (
        "hmac]\nsignature = 'abc'\n$SECRET",
        "hmac.signature: \"abc\": expected a part of the request",
    ),
    (
        "hmac]\nheader = 'X'\ntimestamp = '5 s'\nsigned = '{timestamp}{body}'\n$SECRET",
        "hmac.timestamp: \"5 s\": expected a part of the request",
    ),
    (
        "hmac]\nheader = 'X'\ntimestamp = '5'\n$SECRET",
        "hmac.timestamp: \"5\": expected a part of the request",
    ),
    (
        "token]\nvalue = '{method}'\n$SECRET",
        "token.value: \"{method}\": expected a part of the request",
    ),
    (
        "hmac]\nheader = 'X'\nalgorithm = 'md5'\n$SECRET",
        "unknown variant `md5`, expected one of `sha1`, `sha256`, `sha512`",
    ),
    (
        "hmac]\nheader = 'X'\ntolerance = '0s'\n$SECRET",
        "hmac.tolerance: 0ms: expected 1ms to 7d",
    ),
    (
        "hmac]\nheader = 'X'\nsecret = 'hush'\n$SECRET",
        "unknown field `secret`",
    ),
    ("hmac]\nheader = 'X'\nsecrets = 'hush'", "hmac.secrets: ***"),
    (
        "md5]\n$SECRET",
        "unknown variant `md5`, expected one of `standard_webhooks`, `hmac`, `token`",
    ),
];

/// Loads a source with a scheme; the text goes on after `[sources.a.verify.`.
fn load_scheme(text: &str) -> Result<Config, String> {
    let text = text.replace("$SECRET", "secrets = ['s']");
    let text = format!(
        "[destinations.d]\nurl = 'http://x/'\n[sources.a]\ndestinations = ['d']\n\
         [sources.a.verify.{text}"
    );
    load(&text, &[("S", "from the environment")])
}

#[test]
fn a_scheme_that_would_verify_nothing_is_refused() {
    for (text, expected) in REFUSED {
        let error = load_scheme(text).expect_err(text);
        assert!(
            error.contains(expected),
            "{text:?}\n  gave {error}\n  not  {expected}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_scheme_takes_its_secret_from_a_variable() {
    let config = load_scheme("hmac]\nheader = 'X'\nsecrets_env = 'S'").expect("a valid scheme");
    let Some(Verify::Hmac(scheme)) = &config.sources["a"].verify else {
        panic!("a scheme");
    };
    assert_eq!(scheme.secrets, [Secret::new("from the environment")]);
}

#[test]
fn a_key_that_the_signature_leaves_out_is_noted() {
    for (signed, is_noted) in [
        ("{query.id}", true),
        ("{json./other}", true),
        ("{json./id}", false),
        ("{body}", false),
    ] {
        let text = format!(
            "[destinations.d]\nurl = 'http://x/'\n[sources.a]\ndestinations = ['d']\n\
             idempotency = [{{ json_pointer = '/id' }}, 'body']\n\
             verify.hmac = {{ header = 'X', signed = '{signed}', secrets = ['s'] }}"
        );
        let notes = load(&text, &[]).expect(&text).notes();
        let note = "sources.a.idempotency: the signature does not cover /id: ";
        let found = notes.iter().any(|line| line.starts_with(note));
        assert_eq!(found, is_noted, "{signed}: {notes:?}");
    }
}
