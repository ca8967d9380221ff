//! A request of the API with its caller.

use hyper::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::http::admin::access::Caller;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;

/// A request of the API with its caller.
pub(super) struct Call<'a> {
    pub app: &'a App,
    pub context: &'a RequestContext,
    pub head: &'a Parts,
    pub caller: Caller,
}

/// The largest body. An operation on a hundred ids takes some 5 KB.
const MAX_BYTES: u64 = 64 * 1024;

impl Call<'_> {
    /// Reads the body; an empty one is an empty object.
    pub async fn document<T: DeserializeOwned>(&self, body: &mut Body) -> Result<T, ApiError> {
        let bytes = body.read(MAX_BYTES, self.context.deadline).await?;
        let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        // serde would also read a list, member by member.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::malformed("expected a JSON object"));
        }
        let mut parser = serde_json::Deserializer::from_slice(bytes);
        let parsed = serde_path_to_error::deserialize(&mut parser);
        let parsed = parsed.map_err(|error| {
            let member = error.path().to_string();
            let problem = error.into_inner();
            // No member's: the text is no JSON, or a member is there twice.
            if matches!(member.as_str(), "." | "?") {
                return ApiError::malformed(format!("the body: {problem}"));
            }
            ApiError::invalid(&member, format!("{member}: {problem}"))
        })?;
        parser
            .end()
            .map_err(|_| ApiError::malformed("expected one JSON object"))?;
        Ok(parsed)
    }
}
