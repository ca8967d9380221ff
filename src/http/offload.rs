//! Work on large bodies, off the threads that attend to connections: checking or hashing 64 MiB
//! takes a tenth of a second and more, for which every connection of the thread would stand still.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::http::api_error::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::server::event_loops;
use crate::store::StoreError;

/// Bytes up to which work is done in place: some 0.3 ms for JSON and as much for a hash, which is
/// about what handing it to another thread and back costs under load.
pub(super) const INLINE: usize = 256 * 1024;

/// Runs what takes the processor for long on the blocking threads of the connection's runtime.
pub(super) struct Offload {
    /// One for each core that attends to connections, of all runtimes together: the work never
    /// waits for anything, so that more at once would only take turns, and keep more bodies twice.
    permits: Arc<Semaphore>,
}

impl Offload {
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(event_loops::count())),
        }
    }

    /// Runs `work` and returns its result. Waits for a free thread until the request's deadline.
    /// Work that has begun is finished, also when the client goes away.
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
            .expect("nobody closes the semaphore");
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
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use hyper::header::HeaderMap;

    use super::*;

    #[test]
    fn work_on_a_large_body_lets_its_thread_attend_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let local = tokio::task::LocalSet::new();
        let (other_went, other_goes) = channel();
        let went = local.block_on(&runtime, async {
            let context = RequestContext::begin(&HeaderMap::new(), Duration::from_secs(600));
            let offload = Offload::new();
            // Ends only once the other task, which has the same thread, has had its turn.
            let work = move || other_goes.recv_timeout(Duration::from_secs(60)).is_ok();
            let other = tokio::task::spawn_local(async move { other_went.send(()) });
            let went = offload.run(&context, work).await;
            other.await.expect("no panic").expect("somebody waits");
            went
        });
        assert_eq!(went.ok(), Some(true));
    }

    #[test]
    fn no_more_runs_at_once_than_there_are_cores_for() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let offload = Offload::new();
            let taken = Arc::clone(&offload.permits)
                .acquire_many_owned(u32::try_from(event_loops::count()).expect("eight at most"))
                .await;
            let late = RequestContext::begin(&HeaderMap::new(), Duration::ZERO);
            let refused = offload.run(&late, || ()).await.expect_err("all are taken");
            assert_eq!(refused.status, hyper::StatusCode::SERVICE_UNAVAILABLE);
            drop(taken);
            let in_time = RequestContext::begin(&HeaderMap::new(), Duration::from_secs(600));
            assert_eq!(offload.run(&in_time, || 7).await.ok(), Some(7));
        });
    }
}
