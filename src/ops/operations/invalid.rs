use std::borrow::Cow;

/// How a request is written, and so how an error names its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `--since`, on the command line.
    Flags,
    /// `since`, in JSON and in forms.
    Members,
}

impl Spelling {
    /// A member as its author wrote it.
    pub fn of(self, member: &str) -> Cow<'_, str> {
        match self {
            Self::Flags if member == "ids" => "<ID>".into(),
            Self::Flags => format!("--{}", member.replace('_', "-")).into(),
            Self::Members => member.into(),
        }
    }
}

/// A request that can't be carried out as it is written.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// The member that is wrong or missing.
    pub member: &'static str,
    /// The problem, and what was expected. Names the member where that isn't obvious.
    pub problem: String,
    /// Whether the request is wrong by itself, whatever the configuration and the store hold.
    pub is_usage: bool,
}

impl Invalid {
    pub fn usage(member: &'static str, problem: impl Into<String>) -> Self {
        Self {
            member,
            problem: problem.into(),
            is_usage: true,
        }
    }

    pub fn unfit(member: &'static str, problem: impl Into<String>) -> Self {
        Self {
            is_usage: false,
            ..Self::usage(member, problem)
        }
    }
}
