//! The findings, one a line: a word for how bad it is, the subject, the fact, and what to do.

use serde::Serialize;
use serde_json::json;

use crate::cli::error::CommandError;
use crate::cli::operate::plain;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may not for long or not as meant.
    Warn,
    /// It doesn't work.
    Fail,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    verdict: Verdict,
    about: String,
    message: String,
    /// The next step; none if there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The findings in their order: some for each destination and source.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub fn ok(&mut self, about: &str, message: impl Into<String>) {
        self.add(Verdict::Ok, about, message.into(), None);
    }

    pub fn warn(&mut self, about: &str, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Warn, about, message.into(), Some(advice.into()));
    }

    pub fn fail(&mut self, about: &str, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Fail, about, message.into(), Some(advice.into()));
    }

    fn add(&mut self, verdict: Verdict, about: &str, message: String, advice: Option<String>) {
        self.0.push(Finding {
            verdict,
            about: about.to_owned(),
            message,
            advice: advice.filter(|advice| !advice.is_empty()),
        });
    }

    /// The findings that something is wrong.
    pub fn failed(&self) -> usize {
        let failed = self.0.iter();
        failed
            .filter(|finding| finding.verdict == Verdict::Fail)
            .count()
    }

    pub fn print(&self, as_json: bool) -> Result<(), CommandError> {
        if as_json {
            say!(
                "{}",
                json!({ "ok": self.failed() == 0, "findings": self.0 })
            );
            return Ok(());
        }
        for finding in &self.0 {
            let word = match finding.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            let (about, message) = (plain(&finding.about), plain(&finding.message));
            match &finding.advice {
                None => say!("{word}  {about}: {message}"),
                Some(advice) => say!("{word}  {about}: {message}; {}", plain(advice)),
            }
        }
        Ok(())
    }
}
