use crate::http::EventLoops;
use crate::ops::fatal::Fatal;
use crate::stop::Running;

/// Runs tasks on the thread that accepts connections.
pub(super) struct Spawner<'a> {
    event_loops: &'a EventLoops,
    fatal: &'a Fatal,
}

impl<'a> Spawner<'a> {
    pub fn new(event_loops: &'a EventLoops, fatal: &'a Fatal) -> Self {
        Self { event_loops, fatal }
    }

    /// Runs a task, which holds `running` until it ends. Its panic is fatal.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
        running: Option<Running>,
    ) {
        let watched = PanicIsFatal(name, self.fatal.clone());
        self.event_loops.accepting().spawn(async move {
            task.await;
            drop((watched, running));
        });
    }
}

/// Held by a task whose panic would go unnoticed otherwise.
struct PanicIsFatal(&'static str, Fatal);

impl Drop for PanicIsFatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.raise(format!("{} panicked", self.0));
        }
    }
}
