mod conditions;
mod format;
mod template;

use std::collections::BTreeMap;

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// A request that owns its parts.
#[derive(Clone, Debug, Default)]
struct TestRequest {
    query: Option<String>,
    public_url: Option<String>,
    headers: HeaderMap,
    body: Vec<u8>,
    params: BTreeMap<String, String>,
}

impl TestRequest {
    fn of_body(body: impl AsRef<[u8]>) -> Self {
        Self {
            body: body.as_ref().to_vec(),
            ..Self::default()
        }
    }

    fn form(body: impl AsRef<[u8]>) -> Self {
        Self::of_body(body).header("content-type", "application/x-www-form-urlencoded")
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a name");
        let value = HeaderValue::try_from(value).expect("a value");
        self.headers.append(name, value);
        self
    }

    fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: "POST",
            path: "/webhooks/a%20b",
            query: self.query.as_deref(),
            public_url: self.public_url.as_deref(),
            headers: &self.headers,
            body: &self.body,
            params: &self.params,
        }
    }

    /// The text of a template; none if a part is missing.
    fn text(&self, template: &str) -> Option<String> {
        let template = Template::parse(template).expect(template);
        template.text(&self.view())
    }
}
