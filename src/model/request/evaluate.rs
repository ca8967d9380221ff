//! Fills a template from a request.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::form;
use super::json::{Ambiguous, JsonPointer, Lookup, document, scalar_text, strict_value_at};
use super::template::{Part, Template};
use super::view::RequestView;

/// A part that the request lacks, has twice, or has in a form that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct MissingPart(pub Part);

impl Template {
    /// The bytes of the template's parts, in order. The body's are not copied.
    pub fn segments<'a>(
        &'a self,
        request: &RequestView<'a>,
        timestamp: Option<&'a str>,
    ) -> Result<Vec<Cow<'a, [u8]>>, MissingPart> {
        let mut segments = Vec::with_capacity(self.parts().len());
        let evaluation = Evaluation { request, timestamp };
        evaluation.append(self.parts(), &mut segments)?;
        Ok(segments)
    }

    /// The bytes of the template.
    pub fn evaluate(&self, request: &RequestView<'_>) -> Result<Vec<u8>, MissingPart> {
        Ok(self.segments(request, None)?.concat())
    }

    /// The text of the template. None if a part is missing, or the result is no UTF-8.
    pub fn text(&self, request: &RequestView<'_>) -> Option<String> {
        String::from_utf8(self.evaluate(request).ok()?).ok()
    }

    /// Checks, before the body is read, that the parts are there that don't come from the body.
    pub fn check_head(
        &self,
        request: &RequestView<'_>,
        timestamp: Option<&str>,
    ) -> Result<(), MissingPart> {
        let evaluation = Evaluation { request, timestamp };
        let parts = self.parts().iter().filter(|part| !part.is_of_body());
        for part in parts {
            evaluation.segment(part)?;
        }
        Ok(())
    }
}

struct Evaluation<'r, 'a> {
    request: &'r RequestView<'a>,
    timestamp: Option<&'a str>,
}

impl<'a> Evaluation<'_, 'a> {
    fn append(
        &self,
        parts: &'a [Part],
        segments: &mut Vec<Cow<'a, [u8]>>,
    ) -> Result<(), MissingPart> {
        for part in parts {
            match part {
                Part::Section(pointer, inner) => match self.json(pointer) {
                    Ok(Some(_)) => self.append(inner, segments)?,
                    Ok(None) => {}
                    Err(Ambiguous) => return Err(MissingPart(part.clone())),
                },
                part => segments.push(self.segment(part)?),
            }
        }
        Ok(())
    }

    fn segment(&self, part: &'a Part) -> Result<Cow<'a, [u8]>, MissingPart> {
        let request = self.request;
        let text = |text: &'a str| Some(Cow::Borrowed(text.as_bytes()));
        let bytes = match part {
            Part::Text(fixed) => text(fixed),
            Part::Body => Some(Cow::Borrowed(request.body)),
            Part::Method => text(request.method),
            Part::Path => text(request.path),
            Part::Query => text(request.query.unwrap_or_default()),
            Part::Url => self.url().map(|url| Cow::Owned(url.into_bytes())),
            Part::QueryField(name) => request.query_field(name),
            Part::FormField(name) => request.form_field(name),
            Part::FormSorted => request
                .is_form()
                .then(|| form::sorted(request.body).map(Cow::Owned))
                .flatten(),
            Part::Header(name) => request.header(name).map(Cow::Borrowed),
            Part::Json(pointer) => self.json(pointer).ok().flatten(),
            Part::OptionalJson(pointer) => self.json(pointer).ok().map(Option::unwrap_or_default),
            // Only a template's own parts hold sections, and `append` reads those.
            Part::Section(..) => None,
            Part::Timestamp => self.timestamp.and_then(text),
            Part::BodySha256 => {
                let digest = Sha256::digest(request.body);
                Some(Cow::Owned(hex::encode(digest).into_bytes()))
            }
            Part::BodyCrc32 => {
                let sum = crc32fast::hash(request.body);
                Some(Cow::Owned(sum.to_string().into_bytes()))
            }
            Part::Param(name) => request.params.get(name).and_then(|value| text(value)),
        };
        bytes.ok_or_else(|| MissingPart(part.clone()))
    }

    fn url(&self) -> Option<String> {
        let public_url = self.request.public_url?;
        let mut url = format!("{public_url}{}", self.request.path);
        if let Some(query) = self.request.query.filter(|query| !query.is_empty()) {
            url.push('?');
            url.push_str(query);
        }
        Some(url)
    }

    /// The text at a pointer. A body that is no JSON is ambiguous, so that its optional parts don't
    /// verify either.
    fn json(&self, pointer: &JsonPointer) -> Lookup<Cow<'a, [u8]>> {
        let document: &'a RawValue = document(self.request.body).map_err(|_| Ambiguous)?;
        let Some(value) = strict_value_at(document, pointer)? else {
            return Ok(None);
        };
        Ok(scalar_text(value)?.map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }))
    }
}
