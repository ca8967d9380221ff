//! The actions of operators on a destination, the same by the API and by the console: checked,
//! carried out, and logged with the operator's name.

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::model::{FailureKind, PingReport};
use crate::store::{Pause, Resumed};

/// An operator's action on a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Pause,
    Resume,
    /// Tries at once what a breaker or a `Retry-After` keeps back.
    Probe,
    /// Sends a test.
    Ping,
}

impl Action {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "probe" => Some(Self::Probe),
            "ping" => Some(Self::Ping),
            _ => None,
        }
    }
}

/// An operator, and the request that asks for an action.
pub(super) struct Operator<'a> {
    pub app: &'a App,
    pub context: &'a RequestContext,
    /// The name for the log.
    pub who: &'a str,
}

impl Operator<'_> {
    /// Pauses a destination. Returns the earlier pause, which stays, if there is one.
    pub async fn pause(&self, name: &str, reason: &str) -> Result<Option<Pause>, ApiError> {
        if let Some(problem) = Pause::problem_of(reason) {
            return Err(ApiError::invalid("reason", format!("reason: {problem}")));
        }
        let paused = self.app.store.pause(name.to_owned(), reason.to_owned());
        let before = self.context.wait(paused).await?;
        if before.is_none() {
            log::info!(destination = name, who = self.who, reason; "destination paused");
        }
        Ok(before)
    }

    /// Resumes a destination. `paused_at` is the pause to end: a later one is an error. Returns
    /// whether anything kept the destination back.
    pub async fn resume(&self, name: &str, paused_at: Option<Timestamp>) -> Result<bool, ApiError> {
        let resumed = self.app.store.resume(name.to_owned(), paused_at);
        match self.context.wait(resumed).await? {
            Resumed::Now => {
                log::info!(destination = name, who = self.who; "destination resumed");
                Ok(true)
            }
            Resumed::Already => Ok(false),
            Resumed::PausedSince(pause) => Err(ApiError::changed(format!(
                "{name} was paused anew at {}: {}",
                pause.at, pause.reason
            ))),
        }
    }

    /// Lets an open circuit breaker probe now, and ends a `Retry-After`. Returns whether there was
    /// one of them.
    pub async fn probe(&self, name: &str) -> Result<bool, ApiError> {
        let probed = self.app.store.probe_now(name.to_owned());
        let is_changed = self.context.wait(probed).await?;
        if is_changed {
            log::info!(destination = name, who = self.who; "destination tried at once");
        }
        Ok(is_changed)
    }

    /// Sends a test. Its failure is a report, and no error; a relay that is held sends none.
    pub async fn ping(&self, name: &str) -> Result<PingReport, ApiError> {
        let app = self.app;
        if app.store.is_held() {
            return Err(ApiError::changed(
                "the relay is held after a restore, and contacts nobody: relay resume --all lets \
                 it",
            ));
        }
        let report = app.pings.ping(self.context, &*app.clock, name).await?;
        log::info!(
            destination = name, who = self.who, event_id = report.id.as_str(),
            status_code = report.status_code, failure = report.failure.map(FailureKind::name);
            "destination pinged"
        );
        Ok(report)
    }
}
