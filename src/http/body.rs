//! Reading bodies: bounded in size and in time, which hyper leaves to us.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::problem::Problem;

/// The whole body, of at most `limit` bytes, by the deadline.
pub(super) async fn read(body: Incoming, limit: u64, deadline: Instant) -> Result<Bytes, Problem> {
    // What announces itself as too large isn't read at all.
    if body.size_hint().lower() > limit {
        return Err(Problem::too_large(limit));
    }
    let max = usize::try_from(limit).unwrap_or(usize::MAX);
    match tokio::time::timeout_at(deadline, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(limit)),
        Ok(Err(_)) => Err(Problem::malformed(
            "the body ended early or was badly framed",
        )),
        Err(_) => Err(Problem::malformed("the body took too long to arrive")),
    }
}
