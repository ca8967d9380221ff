use std::borrow::Cow;
use std::collections::BTreeMap;

use ::http::HeaderMap;
use ::http::header::{CONTENT_TYPE, HeaderName};

use super::form;
use super::json::Lookup;

/// A request, as it was sent. Before the body was read, `body` is empty, and only templates that
/// don't need it are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a str,
    /// The path of the target, still percent-encoded.
    pub path: &'a str,
    /// The query of the target without its `?`, still percent-encoded.
    pub query: Option<&'a str>,
    /// The beginning of the URL that the provider was given, up to the path.
    pub public_url: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// The source's `params`.
    pub params: &'a BTreeMap<String, String>,
}

impl<'a> RequestView<'a> {
    /// The value of a header that the request has exactly once.
    pub fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        values.next().is_none().then_some(value.as_bytes())
    }

    /// The decoded value of a field that the query has exactly once.
    pub fn query_field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        form::single(self.query.unwrap_or_default().as_bytes(), name)
    }

    /// The decoded value of a field that a form has exactly once. None if the body is no form.
    pub fn form_field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.is_form().then(|| form::single(self.body, name))?
    }

    /// The decoded value of a field of the query, told apart from one that is there twice.
    pub fn find_query_field(&self, name: &str) -> Lookup<Cow<'a, [u8]>> {
        form::find(self.query.unwrap_or_default().as_bytes(), name)
    }

    /// The decoded value of a field of a form, told apart from one that is there twice.
    pub fn find_form_field(&self, name: &str) -> Lookup<Cow<'a, [u8]>> {
        if self.is_form() {
            form::find(self.body, name)
        } else {
            Ok(None)
        }
    }

    /// Whether the body is a form, by its content type.
    pub fn is_form(&self) -> bool {
        let content_type = self.header(&CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(|&b| b == b';').next();
        media_type
            .unwrap_or_default()
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }
}
