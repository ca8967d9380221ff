//! The id and the deadline of a request, and whether it came over TLS.

use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::http::api_error::ApiError;
use crate::store::StoreError;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request under way.
pub(super) struct RequestContext {
    /// The client's own id or a new UUID. It is in the response and in every log line.
    pub request_id: HeaderValue,
    /// The time at which the client gets 503 instead of waiting longer.
    pub deadline: Instant,
    /// Whether it came over TLS to relay itself. A proxy in front may have ended TLS.
    pub is_secure: bool,
    /// Whether it only reads, so that nothing of it can have been recorded.
    is_safe: bool,
}

impl RequestContext {
    pub fn new(headers: &HeaderMap, is_secure: bool, timeout: Duration) -> Self {
        Self {
            request_id: request_id(headers),
            deadline: Instant::now() + timeout,
            is_secure,
            is_safe: false,
        }
    }

    /// The same of a request by this method.
    pub fn by(self, method: &Method) -> Self {
        Self {
            is_safe: method.is_safe(),
            ..self
        }
    }

    pub fn id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Waits for the store until the deadline. Giving up does not undo a write.
    pub async fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout_at(self.deadline, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ApiError::from_store(&error, self.id())),
            Err(_) if self.is_safe => Err(ApiError::overloaded("took too long: try again")),
            Err(_) => Err(ApiError::overloaded(
                "took too long, and may have been recorded: send it again with the same key",
            )),
        }
    }
}

/// The client's own id if it is 1 to 128 visible ASCII characters, and a new UUID otherwise.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(own) = headers.get(REQUEST_ID)
        && (1..=128).contains(&own.len())
        && own.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return own.clone();
    }
    let mut text = uuid::Uuid::encode_buffer();
    let fresh = uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .hyphenated()
        .encode_lower(&mut text);
    HeaderValue::from_str(fresh).expect("a UUID is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_writes_may_have_been_recorded() {
        let said = |method: Method| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().build().expect("a runtime");
            runtime.block_on(async {
                let context = RequestContext::new(&HeaderMap::new(), false, Duration::ZERO);
                let never = std::future::pending::<Result<(), StoreError>>();
                let late = context.by(&method).wait(never).await;
                late.expect_err("it is late").message().to_owned()
            })
        };
        assert!(said(Method::POST).contains("may have been recorded"));
        assert_eq!(said(Method::GET), "took too long: try again");
    }
}
