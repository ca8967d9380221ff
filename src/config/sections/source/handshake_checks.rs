//! The checks of handshakes: one that could never be asked, or that would sign for strangers, is
//! refused.

use crate::config::rules::{Checked, bad, quoted};
use crate::config::sections::source::answer::{check_content_type, check_no_body};
use crate::config::sections::source::conditions::check_conditions;
use crate::config::sections::source::handshakes::{
    Handshake, HandshakeMethod, HandshakeName, HandshakeTable, ReplyJson, ReplyText,
};
use crate::config::sections::source::section::Source;
use crate::config::sections::source::verify::Verify;
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::model::request::{Part, Template};

/// Handshakes of a source, at most.
const MAX_HANDSHAKES: usize = 16;
/// The longest origin, in characters: that of a value which is echoed.
const MAX_ORIGIN: usize = 256;

/// Handshakes of which the one takes the other's events for questions, and the reason.
const CONTRADICTIONS: [(HandshakeName, HandshakeName, &str); 1] = [(
    HandshakeName::Discord,
    HandshakeName::DiscordInteractions,
    "a /type of 1 is an event under the one and a PING under the other, so that no event would be \
     stored: expected one of them, and a source for each",
)];

/// Checks the handshakes of a source, and the settings that only they use.
pub(super) fn check(key: &str, source: &Source, context: &SourceContext<'_>) -> Checked {
    let key_of = |name: &str| format!("{key}.{name}");
    let list = key_of("handshakes");
    let handshakes = &source.handshakes;
    if handshakes.len() > MAX_HANDSHAKES {
        return bad(
            &list,
            handshakes.len(),
            &format!("at most {MAX_HANDSHAKES}"),
        );
    }
    for (at, handshake) in handshakes.iter().enumerate() {
        if handshakes[..at].contains(handshake) {
            return bad(&format!("{list}[{at}]"), handshake, "each handshake once");
        }
        let key = format!("{list}[{at}]");
        match handshake {
            Handshake::Named(name) => check_name(*name, &key, source)?,
            Handshake::Described(table) => check_table(table, &key, source, context)?,
        }
    }
    check_contradictions(&list, handshakes)?;
    let has = |name| handshakes.contains(&Handshake::Named(name));
    let unused = [
        (
            "hub_tokens",
            !source.hub_tokens.is_empty(),
            HandshakeName::Hub,
        ),
        (
            "hub_topics",
            !source.hub_topics.is_empty(),
            HandshakeName::Hub,
        ),
        (
            "origins",
            source.origins.is_some(),
            HandshakeName::Cloudevents,
        ),
    ];
    for (name, is_set, handshake) in unused {
        if is_set && !has(handshake) {
            let problem = format!(
                "is never used: expected {:?} in handshakes",
                handshake.as_str()
            );
            return Err((key_of(name), problem));
        }
    }
    check_origins(&key_of("origins"), source.origins.as_deref())
}

/// Refuses handshakes of which one would swallow the events that the other leaves.
fn check_contradictions(key: &str, handshakes: &[Handshake]) -> Checked {
    let has = |name| handshakes.contains(&Handshake::Named(name));
    for (one, other, reason) in CONTRADICTIONS {
        if has(one) && has(other) {
            let problem = format!(
                "{:?} contradicts {:?}: {reason}",
                other.as_str(),
                one.as_str()
            );
            return Err((key.to_owned(), problem));
        }
    }
    Ok(())
}

/// Refuses an origin that no request can name: those with other characters are answered 400.
fn check_origins(key: &str, origins: Option<&[String]>) -> Checked {
    let Some(origins) = origins else {
        return Ok(());
    };
    if origins.is_empty() {
        return bad(key, "[]", "at least one; without the key any may ask");
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._~+/=-".contains(&b);
    for (at, origin) in origins.iter().enumerate() {
        if !(1..=MAX_ORIGIN).contains(&origin.len()) || !origin.bytes().all(is_plain) {
            let expected = "a host's name such as \"eventgrid.azure.net\"";
            return bad(&format!("{key}[{at}]"), quoted(origin), expected);
        }
    }
    Ok(())
}

/// Checks a handshake that has a name.
fn check_name(name: HandshakeName, key: &str, source: &Source) -> Checked {
    let problem = |problem: &str| Err((key.to_owned(), format!("{:?}: {problem}", name.as_str())));
    if name == HandshakeName::Hub && source.hub_tokens.is_empty() && source.hub_topics.is_empty() {
        return problem("expected hub_tokens (Meta) or hub_topics (WebSub): nothing would match");
    }
    if name == HandshakeName::Asana {
        if key.starts_with("sources.*.") {
            return problem("contradicts \"*\": a secret is learned by a source of its own name");
        }
        return check_hmac_secret(key, source);
    }
    let tables = name.tables();
    if tables.iter().any(|table| table.signed) && source.scheme_names().is_empty() {
        return problem("is answered only after verification, and the source has no verify");
    }
    if tables.iter().any(|table| table.hmac_of.is_some()) {
        check_hmac_secret(key, source)?;
    }
    if name == HandshakeName::Crc && !source.placed_schemes().iter().all(signs_json_alone(source)) {
        return problem(
            "signs values of strangers, which are no JSON documents: expected schemes by HMAC to \
             have signed = \"{body}\", and no accept_any_content; otherwise such a value can be an \
             event",
        );
    }
    Ok(())
}

/// Whether a scheme's signature is of a JSON document and of nothing else.
fn signs_json_alone(source: &Source) -> impl Fn(&(String, Verify)) -> bool {
    |(_, scheme)| match scheme {
        Verify::Hmac(scheme) => scheme.signed == Template::body() && !source.accept_any_content,
        Verify::StandardWebhooks(_) => false,
        Verify::Token(_) | Verify::Basic(_) | Verify::PublicKey(_) => true,
    }
}

/// Checks a handshake that is described.
fn check_table(
    table: &HandshakeTable,
    key: &str,
    source: &Source,
    context: &SourceContext<'_>,
) -> Checked {
    let key_of = |name: &str| format!("{key}.{name}");
    check_conditions(&key_of("when"), &table.when, context)?;
    for template in table
        .templates()
        .iter()
        .flat_map(|(_, templates)| templates)
    {
        check_template(key, template, false, context)?;
    }
    if table.method == HandshakeMethod::Post && table.when.is_empty() {
        let problem = "is missing: without a condition every event would be a handshake";
        return Err((key_of("when"), problem.to_owned()));
    }
    check_needs_no_body(table, key)?;
    if table.signed && source.scheme_names().is_empty() {
        let problem = "is true by default, and the source has no verify: expected signed = false, \
                       or a verify";
        return Err((key_of("signed"), problem.to_owned()));
    }
    if !(200..=299).contains(&table.status) {
        return bad(&key_of("status"), table.status, "200 to 299");
    }
    if table.text.is_some() && table.json.is_some() {
        let problem = "contradicts text: expected one of them";
        return Err((key_of("json"), problem.to_owned()));
    }
    check_hmac(table, key, source)?;
    let has_control = [
        (
            "text",
            table.text.as_ref().is_some_and(ReplyText::has_control),
        ),
        (
            "json",
            table.json.as_ref().is_some_and(ReplyJson::has_control),
        ),
    ];
    if let Some((name, _)) = has_control
        .into_iter()
        .find(|(_, has_control)| *has_control)
    {
        let problem = "has a control character: expected text in one line, without tabs";
        return Err((key_of(name), problem.to_owned()));
    }
    check_body(table, key)
}

/// Refuses a body beside a status that has none, and a type of one's own for it.
fn check_body(table: &HandshakeTable, key: &str) -> Checked {
    let key_of = |name: &str| format!("{key}.{name}");
    let has_text = table.text.as_ref().is_some_and(|text| !text.0.is_empty());
    for (name, is_set) in [("text", has_text), ("json", table.json.is_some())] {
        if !is_set {
            continue;
        }
        check_no_body(&key_of(name), table.status)?;
        if table.content_type.is_some() {
            let problem = format!("contradicts {name}, which has a type of its own");
            return Err((key_of("content_type"), problem));
        }
    }
    check_content_type(&key_of("content_type"), table.content_type.as_deref())
}

/// Refuses a look at the body of a request that has none.
fn check_needs_no_body(table: &HandshakeTable, key: &str) -> Checked {
    if table.method == HandshakeMethod::Post {
        return Ok(());
    }
    let key_of = |name: &str| format!("{key}.{name}");
    if !table.when.body.is_empty() {
        let problem = "can never match: only a POST has a body here";
        return Err((key_of("when.body"), problem.to_owned()));
    }
    let asked = ("when", table.when.templates().collect::<Vec<_>>());
    for (name, templates) in table.templates().into_iter().chain([asked]) {
        let mut of_body = templates.iter().filter(|template| template.needs_body());
        if let Some(template) = of_body.next() {
            let text = quoted(template.as_str());
            let problem = format!("{text}: can never be found: only a POST has a body here");
            return Err((key_of(name), problem));
        }
    }
    Ok(())
}

/// Refuses to sign for strangers: a value of theirs could be the content of a forged event.
fn check_hmac(table: &HandshakeTable, key: &str, source: &Source) -> Checked {
    let key_of = |name: &str| format!("{key}.{name}");
    let text = table.text.as_ref().is_some_and(ReplyText::has_hmac);
    let is_used = text || table.json.as_ref().is_some_and(ReplyJson::has_hmac);
    match (&table.hmac_of, is_used) {
        (None, false) => Ok(()),
        (None, true) => {
            let problem = "is missing: the answer has {hmac}, and nothing says what it is of";
            Err((key_of("hmac_of"), problem.to_owned()))
        }
        (Some(template), false) => {
            let expected = "{hmac} or {hmac_base64} in the answer's text or json";
            bad(&key_of("hmac_of"), quoted(template.as_str()), expected)
        }
        (Some(template), true) => {
            if !table.signed {
                let problem = "contradicts signed = false: whoever asked would get whatever \
                               they like signed";
                return Err((key_of("hmac_of"), problem.to_owned()));
            }
            check_hmac_secret(&key_of("hmac_of"), source)?;
            check_covered(&key_of("hmac_of"), template, source)
        }
    }
}

/// Refuses to sign what the request's own signature leaves out, unless it could be no event:
/// whoever captured a request could have anything signed.
fn check_covered(key: &str, value: &Template, source: &Source) -> Checked {
    let schemes = source.placed_schemes();
    if schemes.iter().all(signs_json_alone(source)) {
        return Ok(());
    }
    let is_covered = |part: &Part| schemes.iter().all(|(_, scheme)| covers(scheme, part));
    match value.all_parts().find(|part| !is_covered(part)) {
        Some(part) => {
            let expected =
                format!("parts of the request that its signature covers: {part} is none");
            bad(key, quoted(value.as_str()), &expected)
        }
        None => Ok(()),
    }
}

/// Whether a request that this scheme verifies has the part as its sender set it.
fn covers(scheme: &Verify, part: &Part) -> bool {
    if matches!(part, Part::Text(_) | Part::Param(_)) {
        return true;
    }
    match scheme {
        Verify::StandardWebhooks(_) => part.is_of_body(),
        Verify::Hmac(scheme) => {
            let request = scheme.signed_request();
            request.signed.has(part) || (part.is_of_body() && request.covers_body())
        }
        // Without an HMAC there is no key to answer with.
        Verify::Token(_) | Verify::Basic(_) | Verify::PublicKey(_) => true,
    }
}

/// Refuses an HMAC without a secret, which only the schemes with an HMAC have.
fn check_hmac_secret(key: &str, source: &Source) -> Checked {
    let is_hmac = |name: &&str| matches!(*name, "hmac" | "standard_webhooks");
    if source.scheme_names().iter().any(is_hmac) {
        return Ok(());
    }
    let problem = "needs the secret of an HMAC, and the source's verify has none";
    Err((key.to_owned(), problem.to_owned()))
}
