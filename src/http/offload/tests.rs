use std::sync::mpsc::channel;
use std::time::Duration;

use hyper::header::HeaderMap;
use tokio::runtime::Runtime;

use super::*;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

#[test]
fn an_event_loop_serves_others_during_work_on_a_large_body() {
    let local = tokio::task::LocalSet::new();
    let (signal, signalled) = channel();
    let was_signalled = local.block_on(&runtime(), async {
        let context = RequestContext::new(&HeaderMap::new(), false, Duration::from_secs(600));
        let offload = Offload::new();
        // Ends only after the other task, which runs on the same event loop, has run.
        let work = move || signalled.recv_timeout(Duration::from_secs(60)).is_ok();
        let other = tokio::task::spawn_local(async move { signal.send(()) });
        let was_signalled = offload.run(&context, work).await;
        other
            .await
            .expect("no panic")
            .expect("the receiver is there");
        was_signalled
    });
    assert_eq!(was_signalled.ok(), Some(true));
}

#[test]
fn work_waits_for_a_permit_until_the_requests_deadline() {
    runtime().block_on(async {
        let offload = Offload::new();
        let all = u32::try_from(event_loops::count()).expect("eight at most");
        let taken = Arc::clone(&offload.permits).acquire_many_owned(all).await;
        let late = RequestContext::new(&HeaderMap::new(), false, Duration::ZERO);
        let refused = offload
            .run(&late, || ())
            .await
            .expect_err("no permit is left");
        assert_eq!(refused.status, hyper::StatusCode::SERVICE_UNAVAILABLE);
        drop(taken);
        let in_time = RequestContext::new(&HeaderMap::new(), false, Duration::from_secs(600));
        assert_eq!(offload.run(&in_time, || 7).await.ok(), Some(7));
    });
}
