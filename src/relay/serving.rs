use std::sync::Arc;
use std::time::Duration;

use crate::http::{EventLoops, Listener, serve};
use crate::relay::agents::Agents;
use crate::relay::demand::ADMIN_CONNECTIONS;
use crate::relay::listeners::Listeners;
use crate::relay::reload::Parts;
use crate::relay::spawner::Spawner;
use crate::stop::Ending;

/// The interval at which full token buckets are evicted, histograms folded, and the hour of the
/// certificates looked at. Between two foldings each request holds a few bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Begins to accept connections.
pub(super) fn serve_on(
    agents: &mut Agents,
    event_loops: &EventLoops,
    listeners: Listeners,
    parts: &Parts,
) {
    let (app, certificates) = (&parts.app, &parts.certificates);
    let (running, ended) = Ending::new();
    agents.requests.ended = Some(ended);
    let spawner = Spawner::new(event_loops, &agents.fatal);
    let malformed = {
        let app = app.clone();
        Arc::new(move |status, start: &[u8]| app.current().answer_malformed(status, start))
    };
    let limits = |connections: u32| {
        let app = app.clone();
        move || {
            app.current()
                .listener_limits()
                .with_connections(connections)
        }
    };
    let public = app.clone();
    let server = serve(
        Listener {
            tcp: listeners.public,
            tls: certificates.server(),
        },
        limits(parts.connections),
        move |request| public.current().answer(request),
        malformed.clone(),
        agents.requests.stop.clone(),
        event_loops.serving(),
    );
    spawner.spawn(
        "the listener at server.listen",
        server,
        Some(running.clone()),
    );
    let Some(tcp) = listeners.admin else { return };
    let operators = app.clone();
    let server = serve(
        Listener {
            tcp,
            tls: certificates.admin(),
        },
        limits(ADMIN_CONNECTIONS),
        move |request| operators.current().answer_admin(request),
        malformed,
        agents.requests.stop.clone(),
        event_loops.serving(),
    );
    spawner.spawn("the listener at admin.listen", server, Some(running));
}

/// Does every few seconds whatever no event asks for.
pub(super) fn upkeep(parts: &Parts) -> impl Future<Output = ()> + Send + 'static {
    let (app, certificates) = (parts.app.clone(), parts.certificates.clone());
    let (live, clock) = (parts.live.clone(), Arc::clone(&parts.clock));
    async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            app.current().upkeep();
            if certificates.is_due(clock.monotonic()) {
                let (certificates, config) = (certificates.clone(), live.current());
                let look = tokio::task::spawn_blocking(move || certificates.look(&config));
                // A panic has a line in the log already, and the next hour brings another look.
                let _ = look.await;
            }
        }
    }
}
