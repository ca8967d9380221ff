//! An authenticated caller, and the rights of its role.

use hyper::http::request::Parts;

use super::origin;
use crate::http::api_error::ApiError;

/// The rights of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Role {
    /// Every `GET`, payloads included.
    Read,
    /// Everything.
    Operate,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Caller {
    /// The name of the variable that holds the caller's token: the log says who changed what.
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// Whether a request may change something: the caller's role allows it, and no page of another
    /// origin sent it. `is_secure`: whether the request came over TLS.
    pub fn check_change(&self, head: &Parts, is_secure: bool) -> Result<(), ApiError> {
        origin::check(head, is_secure)?;
        if self.role == Role::Operate {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "{} has the role read: expected a token of the role operate",
            self.name
        )))
    }
}
