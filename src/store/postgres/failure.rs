//! Why a call on the server failed, by its SQLSTATE, and so what helps.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio_postgres::Error as DriverError;
use tokio_postgres::error::DbError;

use crate::store::error::{EngineError, StoreError};

/// The kind of a failure, by the remedy that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The connection is gone, or was ended since the server said nothing. A change that was under
    /// way may or may not have been committed. A new connection helps.
    Lost,
    /// The server takes no more connections. As lost, but nothing was under way.
    Crowded,
    /// The server is a standby, or doesn't take writes. All connections must be made anew: they may
    /// lead to another server.
    ReadOnly,
    /// The server doesn't let this user in, or the database isn't there. An operator helps.
    Denied,
    /// The answer to a change was lost, and made again it had no effect: nobody knows whether it
    /// has been made.
    AnswerLost,
    /// A conflict, a deadlock or a lock that others hold: the same again helps.
    Conflict,
    /// A statement took longer than `database.statement_timeout`, or was cancelled.
    TooSlow,
    /// The server's disk or memory is used up; the connection stays.
    Full,
    /// A key is there already.
    Duplicate,
    /// The server refused the statement: a bug, or a value that the database can't hold.
    Refused,
    /// A table or a column isn't there: the schema was changed by somebody else.
    Unlike,
    /// The server found its files damaged, or can't read them.
    Corrupt,
}

/// Why a call failed. Tells neither parameters nor rows.
#[derive(Debug)]
pub struct Failure {
    class: Class,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Driver(DriverError),
    Other(EngineError),
    /// The limit that passed without an answer.
    Silent(Duration),
    Closed,
}

impl Failure {
    /// The connection was lost for this reason.
    pub fn lost(source: EngineError) -> Self {
        Self {
            class: Class::Lost,
            source: Source::Other(source),
        }
    }

    /// The server didn't answer within `limit`.
    pub fn silent(limit: Duration) -> Self {
        Self {
            class: Class::Lost,
            source: Source::Silent(limit),
        }
    }

    /// The connection had been lost before.
    pub fn closed() -> Self {
        Self {
            class: Class::Lost,
            source: Source::Closed,
        }
    }

    /// The answer to a change was lost, and its repetition had no effect.
    pub fn answer_lost() -> Self {
        Self {
            class: Class::AnswerLost,
            source: Source::Closed,
        }
    }

    /// A row is missing, or holds a value that it should not.
    pub fn unexpected(why: String) -> Self {
        Self {
            class: Class::Refused,
            source: Source::Other(why.into()),
        }
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether the connection can't be used any more.
    pub fn ends_connection(&self) -> bool {
        matches!(
            self.class,
            Class::Lost | Class::Crowded | Class::ReadOnly | Class::Denied
        )
    }

    /// The five characters of SQL's standard; none if the server said nothing.
    pub fn code(&self) -> Option<&str> {
        self.answer().map(|error| error.code().code())
    }

    /// The constraint that a row broke.
    pub fn constraint(&self) -> Option<&str> {
        self.answer().and_then(DbError::constraint)
    }

    fn answer(&self) -> Option<&DbError> {
        match &self.source {
            Source::Driver(error) => error.as_db_error(),
            _ => None,
        }
    }
}

impl Failure {
    /// Why a connection can't be made.
    pub fn of_connecting(error: DriverError) -> Self {
        let class = match (error.as_db_error(), io_error(&error)) {
            (Some(answer), _) => class_of(answer),
            // The driver's own, of target_session_attrs.
            (None, Some(ErrorKind::PermissionDenied)) => Class::ReadOnly,
            (None, Some(_)) => Class::Lost,
            (None, None) if error.is_closed() => Class::Lost,
            // A certificate, or a method of authentication that isn't supported.
            (None, None) => Class::Denied,
        };
        Self {
            class,
            source: Source::Driver(error),
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        let class = match (error.as_db_error(), io_error(&error)) {
            (Some(answer), _) => class_of(answer),
            // A message that can't be written; nothing was sent.
            (None, Some(ErrorKind::InvalidInput)) => Class::Refused,
            (None, Some(_)) => Class::Lost,
            (None, None) if error.is_closed() || is_out_of_step(&error) => Class::Lost,
            // A value of another type than the statement's.
            (None, None) => Class::Refused,
        };
        Self {
            class,
            source: Source::Driver(error),
        }
    }
}

/// The kind of the system's error behind an error of the driver.
fn io_error(error: &DriverError) -> Option<ErrorKind> {
    let source = error.source()?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Whether an answer was of another kind than the request's. The driver tells it by no other means.
fn is_out_of_step(error: &DriverError) -> bool {
    error.to_string() == "unexpected message from server"
}

/// The class of the server's answer.
fn class_of(answer: &DbError) -> Class {
    // A statement that was prepared before a table was changed; a new connection prepares it anew.
    if answer.routine() == Some("RevalidateCachedQuery") {
        return Class::Lost;
    }
    class_of_code(answer.code().code())
}

/// The class of an SQLSTATE (Appendix A of PostgreSQL's documentation).
fn class_of_code(code: &str) -> Class {
    match code {
        "25006" => Class::ReadOnly,
        "55P03" => Class::Conflict,
        "57014" => Class::TooSlow,
        // 26000: a pooler gave the session to another client, with its prepared statements.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "26000" => Class::Lost,
        "53100" | "53200" | "53400" => Class::Full,
        "53000" | "53300" => Class::Crowded,
        "23505" => Class::Duplicate,
        "42501" | "3D000" | "57P04" => Class::Denied,
        "42P01" | "42703" | "3F000" => Class::Unlike,
        "58030" | "58P01" | "XX001" | "XX002" => Class::Corrupt,
        _ if code.starts_with("08") => Class::Lost,
        _ if code.starts_with("28") => Class::Denied,
        "40002" => Class::Refused,
        _ if code.starts_with("40") => Class::Conflict,
        _ => Class::Refused,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Driver(error) => match error.as_db_error() {
                // Without its detail, which quotes values.
                Some(answer) => {
                    write!(
                        f,
                        "{} (SQLSTATE {})",
                        answer.message(),
                        answer.code().code()
                    )
                }
                None => chain(error, f),
            },
            Source::Other(error) => error.fmt(f),
            Source::Silent(limit) => write!(f, "no answer within {limit:?}"),
            Source::Closed => f.write_str("the connection was lost"),
        }
    }
}

/// An error and its sources, in one line.
fn chain(error: &DriverError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

impl Error for Failure {}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.class {
            Class::Lost | Class::Crowded | Class::ReadOnly | Class::Denied => {
                Self::Unreachable(failure.into())
            }
            Class::AnswerLost => Self::AnswerLost,
            Class::Conflict | Class::TooSlow => Self::Busy,
            Class::Full => Self::Full,
            Class::Unlike | Class::Corrupt => Self::Broken(failure.into()),
            Class::Refused if failure.code().is_none() => Self::Unexpected(failure.to_string()),
            Class::Duplicate | Class::Refused => Self::Rejected(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests;
