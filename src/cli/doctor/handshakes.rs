//! The questions of providers, asked of the running relay. A handshake is answered and never
//! stored.

use std::time::Duration;

use hyper::header::HeaderName;

use crate::cli::send::post::Door;
use crate::cli::send::{Draft, post, sign};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{HandshakeName, SourcePolicy};

/// The time to connect, and for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The value that is asked for: relay echoes letters, and no JSON document.
const CHALLENGE: &str = "relaydoctor";

/// The outcome of a question.
pub(super) enum Outcome {
    Answered,
    NotTried(String),
    Failed(String),
}

/// A question and the text that its answer must hold.
struct Question {
    method: &'static str,
    query: String,
    header: Option<(&'static str, String)>,
    body: String,
    /// Whether only the provider may ask.
    is_signed: bool,
    expected: &'static str,
}

impl Question {
    fn get(query: String, expected: &'static str) -> Self {
        Self {
            method: "GET",
            query,
            header: None,
            body: String::new(),
            is_signed: false,
            expected,
        }
    }

    fn signed(body: &str, expected: &'static str) -> Self {
        Self {
            method: "POST",
            body: body.to_owned(),
            is_signed: true,
            ..Self::get(String::new(), expected)
        }
    }

    /// The question of a provider. An error says why it can't be asked.
    fn of(handshake: HandshakeName, source: &SourcePolicy) -> Result<Self, String> {
        let challenge = format!(r#""challenge":"{CHALLENGE}""#);
        Ok(match handshake {
            HandshakeName::Hub => Self::get(hub_query(source)?, CHALLENGE),
            HandshakeName::Echo => Self::get(format!("challenge={CHALLENGE}"), CHALLENGE),
            HandshakeName::Crc => Self::get(format!("crc_token={CHALLENGE}"), "sha256="),
            HandshakeName::Reachable => Self::get(String::new(), ""),
            HandshakeName::Slack => {
                let body = format!(r#"{{"type":"url_verification",{challenge}}}"#);
                Self::signed(&body, CHALLENGE)
            }
            HandshakeName::Twitch => Self {
                header: Some((
                    "twitch-eventsub-message-type",
                    "webhook_callback_verification".to_owned(),
                )),
                ..Self::signed(&format!("{{{challenge}}}"), CHALLENGE)
            },
            HandshakeName::Zoom => {
                let payload = format!(r#"{{"plainToken":"{CHALLENGE}"}}"#);
                let body = format!(r#"{{"event":"endpoint.url_validation","payload":{payload}}}"#);
                Self::signed(&body, "encryptedToken")
            }
            HandshakeName::EventGrid => Self {
                is_signed: false,
                header: Some(("aeg-event-type", "SubscriptionValidation".to_owned())),
                ..Self::signed(
                    &format!(
                        r#"[{{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{{"validationCode":"{CHALLENGE}"}}}}]"#
                    ),
                    CHALLENGE,
                )
            },
            HandshakeName::Cloudevents => {
                let origins = source.origins.as_ref();
                let origin = origins.and_then(|origins| origins.first());
                let origin = origin.map_or("relay.example", String::as_str);
                Self {
                    method: "OPTIONS",
                    header: Some(("webhook-request-origin", origin.to_owned())),
                    ..Self::get(String::new(), "")
                }
            }
            HandshakeName::Discord => Self::signed(r#"{"type":0}"#, ""),
            HandshakeName::DiscordInteractions => Self::signed(r#"{"type":1}"#, "1"),
            HandshakeName::Asana => {
                return Err("the source would learn a secret by it".to_owned());
            }
        })
    }
}

fn hub_query(source: &SourcePolicy) -> Result<String, String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("hub.mode", "subscribe");
    query.append_pair("hub.challenge", CHALLENGE);
    if let Some(token) = source.hub_tokens.first() {
        query.append_pair("hub.verify_token", token.reveal());
    } else if let Some(topic) = source.hub_topics.first() {
        query.append_pair("hub.topic", topic);
    } else {
        return Err("it has neither tokens nor topics".to_owned());
    }
    Ok(query.finish())
}

/// Asks a relay a source's handshake.
pub(super) fn try_at(
    door: &Door,
    name: &str,
    source: &SourcePolicy,
    handshake: HandshakeName,
) -> Outcome {
    if name == "*" {
        return Outcome::NotTried("the catch-all has no URL of its own".to_owned());
    }
    let asked = Question::of(handshake, source).and_then(|question| {
        let host = door.address.to_string();
        let request = request(&question, name, source, &host)?;
        Ok((question, request))
    });
    let (question, request) = match asked {
        Ok(asked) => asked,
        Err(why) => return Outcome::NotTried(why),
    };
    let answer = match post::exchange(door, &request, TIMEOUT) {
        Ok(answer) => answer,
        Err(error) => return Outcome::Failed(format!("{door}: {error}")),
    };
    match post::split(&answer) {
        Some((_, 200..=299, body)) if holds(body, question.expected) => Outcome::Answered,
        Some((_, 200..=299, _)) => Outcome::Failed("the answer is not the expected one".to_owned()),
        Some((status, _, _)) => Outcome::Failed(format!("answered {status}")),
        None => Outcome::Failed("the answer is no HTTP".to_owned()),
    }
}

fn holds(body: &[u8], expected: &str) -> bool {
    String::from_utf8_lossy(body).contains(expected)
}

/// The bytes of a question. An error says why it can't be asked.
fn request(
    question: &Question,
    name: &str,
    source: &SourcePolicy,
    host: &str,
) -> Result<Vec<u8>, String> {
    let mut draft = Draft::new(name, question.body.clone().into_bytes());
    if !question.query.is_empty() {
        draft.set_query(&question.query);
    }
    if let Some((name, value)) = &question.header {
        draft.set_header(&HeaderName::from_static(name), value)?;
    }
    if !question.body.is_empty() {
        draft.set_header(&hyper::header::CONTENT_TYPE, "application/json")?;
    }
    if question.is_signed {
        sign::sign(&mut draft, source, SystemClock::new().wall())?;
    }
    Ok(draft.to_bytes_by(question.method, host))
}
