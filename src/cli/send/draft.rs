//! A request that is being made up.

use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::model::request::{JsonPointer, Part, RequestView, Template, document, value_at};

/// A request to a source.
pub(in crate::cli) struct Draft {
    path: String,
    query: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Texts that are secrets, and are masked when the request is shown.
    secrets: Vec<String>,
}

impl Draft {
    pub fn new(source: &str, body: Vec<u8>) -> Self {
        Self {
            path: format!("/webhooks/{source}"),
            query: None,
            headers: HeaderMap::new(),
            body,
            secrets: Vec::new(),
        }
    }

    /// The target of the request line.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The request as templates see it.
    pub fn view<'a>(
        &'a self,
        public_url: Option<&'a str>,
        params: &'a BTreeMap<String, String>,
    ) -> RequestView<'a> {
        RequestView {
            method: "POST",
            path: &self.path,
            query: self.query.as_deref(),
            public_url,
            headers: &self.headers,
            body: &self.body,
            params,
        }
    }

    pub fn set_header(&mut self, name: &HeaderName, value: &str) -> Result<(), String> {
        let value = HeaderValue::try_from(value);
        let value = value.map_err(|_| format!("{name}: the value can't be sent in a header"))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Sets the query, as it is sent.
    pub fn set_query(&mut self, query: &str) {
        self.query = Some(query.to_owned());
    }

    pub fn has_query_field(&self, name: &str) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).any(|(known, _)| known == name)
    }

    /// Adds a field to the query.
    pub fn add_query_field(&mut self, name: &str, value: &str) {
        let field: String = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value)
            .finish();
        self.query = Some(match self.query.take() {
            Some(query) => format!("{query}&{field}"),
            None => field,
        });
    }

    /// Sets a field of the query, in place of those of the same name.
    fn set_query_field(&mut self, name: &str, value: &str) {
        let is_other = |field: &&str| {
            let mut named = form_urlencoded::parse(field.as_bytes());
            named.next().is_none_or(|(known, _)| known != name)
        };
        let others = self.query.take().map(|query| {
            let others = query.split('&').filter(is_other);
            others.collect::<Vec<_>>().join("&")
        });
        self.query = others.filter(|others| !others.is_empty());
        self.add_query_field(name, value);
    }

    /// Remembers a secret that the request holds, in each form in which it may stand there.
    pub fn add_secret(&mut self, text: &str) {
        let in_query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let in_json = serde_json::Value::from(text).to_string();
        let in_json = in_json[1..in_json.len() - 1].to_owned();
        self.secrets.extend([in_query, in_json, text.to_owned()]);
    }

    /// The text with the secrets masked.
    pub fn masked(&self, text: &str) -> String {
        let mask = |text: String, secret: &String| text.replace(secret.as_str(), "***");
        self.secrets.iter().fold(text.to_owned(), mask)
    }

    /// Puts a text at the place that a template reads.
    pub fn fill(&mut self, place: &Template, text: &str) -> Result<(), String> {
        match place.parts() {
            [Part::Header(name)] => self.set_header(name, text),
            [Part::QueryField(name)] => {
                self.set_query_field(name, text);
                Ok(())
            }
            [Part::Json(pointer)] => self.fill_json(pointer, text),
            _ => Err(format!(
                "{:?}: relay send puts a value into a header, a field of the query or a member of \
                 the JSON body",
                place.as_str()
            )),
        }
    }

    /// Replaces the value at a pointer in place, so that all other bytes stay. A number stays one.
    fn fill_json(&mut self, pointer: &JsonPointer, text: &str) -> Result<(), String> {
        let shown = pointer.as_str();
        let missing = || format!("the body has no {shown} to be filled");
        let document = document(&self.body).map_err(|error| format!("the body: {error}"))?;
        let value = value_at(document, pointer).ok().flatten();
        let value = value.ok_or_else(missing)?.get();
        let is_number = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let is_number = is_number && text.bytes().all(|b| b.is_ascii_digit());
        let start = value.as_ptr().addr() - self.body.as_ptr().addr();
        let range = start..start + value.len();
        let quoted = serde_json::to_string(text).map_err(|error| error.to_string())?;
        let value = if is_number { text } else { &quoted };
        self.body.splice(range, value.bytes());
        Ok(())
    }

    /// The request's bytes.
    pub fn to_bytes(&self, host: &str) -> Vec<u8> {
        self.to_bytes_by("POST", host)
    }

    /// The bytes of a request by another method.
    pub fn to_bytes_by(&self, method: &str, host: &str) -> Vec<u8> {
        let mut bytes = format!(
            "{method} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.target(),
            self.body.len()
        )
        .into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
