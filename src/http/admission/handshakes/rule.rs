//! One handshake, and the requests that ask it.

use crate::config::{Handshake, HandshakeMethod, HandshakeName, HandshakeTable, SourcePolicy};
use crate::http::admission::handshakes::cloudevents::CloudEvents;
use crate::http::admission::handshakes::hub::Hub;
use crate::http::admission::handshakes::reply::{Charset, HandshakeAnswer, Reply};
use crate::http::api_error::ApiError;
use crate::model::request::{Conditions, RequestView};

/// A handshake.
pub(in crate::http) struct Rule {
    pub(super) method: HandshakeMethod,
    /// Whether it is asked by requests that are verified, and by no others.
    pub(super) is_signed: bool,
    /// The conditions on the request's head …
    head: Conditions,
    /// … and those on its body.
    body: Conditions,
    answer: Answer,
}

enum Answer {
    Reply(Reply),
    Hub(Hub),
    CloudEvents(CloudEvents),
    /// The request brings a secret, which is answered once it is stored.
    LearnSecret,
}

impl Rule {
    /// The handshakes of a source, `reachable` last: every GET asks it.
    pub fn all(source: &SourcePolicy) -> Vec<Self> {
        let mut rules = Vec::new();
        for handshake in &source.handshakes {
            match handshake {
                Handshake::Described(table) => rules.push(Self::described(table, Charset::Strict)),
                Handshake::Named(name) => rules.extend(Self::named(*name, source)),
            }
        }
        rules.sort_by_key(Rule::matches_anything);
        rules
    }

    fn named(name: HandshakeName, source: &SourcePolicy) -> Vec<Self> {
        match name {
            HandshakeName::Hub => vec![Self::of_head(
                HandshakeMethod::Get,
                name.conditions(),
                Answer::Hub(Hub::new(source)),
            )],
            HandshakeName::Cloudevents => vec![Self::of_head(
                HandshakeMethod::Options,
                name.conditions(),
                Answer::CloudEvents(CloudEvents::new(source)),
            )],
            HandshakeName::Asana => vec![Self::of_head(
                HandshakeMethod::Post,
                name.conditions(),
                Answer::LearnSecret,
            )],
            name => {
                let tables = name.tables().iter();
                tables
                    .map(|table| Self::described(table, Charset::of(name, table.method)))
                    .collect()
            }
        }
    }

    fn of_head(method: HandshakeMethod, head: Conditions, answer: Answer) -> Self {
        Self {
            method,
            is_signed: false,
            head,
            body: Conditions::default(),
            answer,
        }
    }

    fn described(table: &HandshakeTable, charset: Charset) -> Self {
        let Conditions {
            headers,
            query,
            body,
        } = table.when.clone();
        Self {
            method: table.method,
            is_signed: table.signed,
            head: Conditions {
                headers,
                query,
                ..Conditions::default()
            },
            body: Conditions {
                body,
                ..Conditions::default()
            },
            answer: Answer::Reply(Reply::new(table, charset)),
        }
    }

    /// Whether every request of its method asks it.
    pub fn matches_anything(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Whether the body is needed to tell if it is asked, or to answer it.
    pub fn needs_body(&self) -> bool {
        let reply_needs_body = match &self.answer {
            Answer::Reply(reply) => reply.needs_body(),
            Answer::Hub(_) | Answer::CloudEvents(_) | Answer::LearnSecret => false,
        };
        !self.body.is_empty() || reply_needs_body || self.head.needs_body()
    }

    /// Whether a request that asks it brings a secret, which the source may learn.
    pub fn brings_secret(&self) -> bool {
        matches!(self.answer, Answer::LearnSecret)
    }

    /// Whether the request may ask it, before its body is there.
    pub fn may_match_head(&self, request: &RequestView<'_>) -> bool {
        self.head.needs_body() || self.head.match_request(request)
    }

    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        self.head.match_request(request) && self.body.match_request(request)
    }

    /// Why a request without a body doesn't ask it; none if it does.
    pub fn explain_head(&self, request: &RequestView<'_>) -> Option<String> {
        self.head.explain_head(request)
    }

    /// The answer to a request that asks it. `key` is the key that verified the request, or the
    /// source's first one.
    pub fn answer(&self, request: &RequestView<'_>, key: Option<&[u8]>) -> HandshakeAnswer {
        match &self.answer {
            Answer::Reply(reply) => reply.answer(request, key),
            Answer::Hub(hub) => hub.answer(request),
            Answer::CloudEvents(cloudevents) => cloudevents.answer(request),
            // It is answered where the secret is stored.
            Answer::LearnSecret => Err(ApiError::not_verified()),
        }
    }
}
