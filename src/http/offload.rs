//! Work on large bodies, away from the event loops. Checking or hashing 64 MiB takes a tenth of a
//! second and more, during which all connections of the thread would stand still.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::http::api_error::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::server::event_loops;
use crate::store::StoreError;

/// Bodies up to this size are worked on in place. That takes some 0.3 ms for JSON and as much for a
/// hash, about as long as passing the work to another thread and back takes under load.
pub(super) const MAX_INLINE_BYTES: usize = 256 * 1024;

/// Runs work that occupies a core for long on the blocking threads of the connection's runtime.
pub(super) struct Offload {
    /// One permit for each event loop, for all runtimes together. The work never waits, so that
    /// more at once would only share the cores, and keep more copies of bodies in memory.
    permits: Arc<Semaphore>,
}

impl Offload {
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(event_loops::count())),
        }
    }

    /// Runs `work` in place if it handles at most [`MAX_INLINE_BYTES`], and on another thread
    /// otherwise.
    pub async fn run_if_large<T: Send + 'static>(
        &self,
        context: &RequestContext,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= MAX_INLINE_BYTES {
            return Ok(work());
        }
        self.run(context, work).await
    }

    /// Runs `work` on another thread, for which it waits until the request's deadline. Work that
    /// has begun runs to its end, even if the client disconnects.
    pub async fn run<T: Send + 'static>(
        &self,
        context: &RequestContext,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = timeout_at(context.deadline, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| {
                ApiError::overloaded("too many large bodies are being checked: try again")
            })?
            .expect("the semaphore is never closed");
        let work = move || {
            let result = work();
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            let error = StoreError::Unexpected(format!("work on a large body panicked: {error}"));
            ApiError::from_store(&error, context.id())
        })
    }
}

#[cfg(test)]
mod tests;
