//! An authenticated caller, and the rights of its role.

use hyper::http::request::Parts;

use super::origin;
use super::sessions::TokenDigest;
use crate::http::api_error::ApiError;

/// The rights of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Role {
    /// Every `GET`, payloads included.
    Read,
    /// Everything.
    Operate,
}

/// The proof that a caller may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Proof {
    /// A token in `Authorization`, which a page of another origin can't make a browser send.
    Bearer,
    /// A session's cookie, which a browser sends by itself.
    Session,
    /// None is needed: no token is configured.
    NoneNeeded,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Caller {
    /// The name of the variable that holds the caller's token: the log says who changed what.
    pub name: String,
    pub role: Role,
    pub proof: Proof,
    /// The digest of its token; none: no token is configured.
    pub token: Option<TokenDigest>,
}

impl Caller {
    /// Whether a request of the API may change something: the caller's role allows it, and no page
    /// of another origin sent it. `is_secure`: whether the request came over TLS.
    pub fn check_change(&self, head: &Parts, is_secure: bool) -> Result<(), ApiError> {
        origin::check_json(head)?;
        match self.proof {
            Proof::Session => origin::check_own(head, is_secure)?,
            Proof::Bearer | Proof::NoneNeeded => origin::check_given(head, is_secure)?,
        }
        self.check_role()
    }

    /// The same of a form.
    #[allow(dead_code, reason = "a build without the console has no form")]
    pub fn check_form(&self, head: &Parts, is_secure: bool) -> Result<(), ApiError> {
        self.check_page(head, is_secure)?;
        self.check_role()
    }

    /// Whether a page of this listener sent a form, which needs no role.
    #[allow(dead_code, reason = "a build without the console has no form")]
    pub fn check_page(&self, head: &Parts, is_secure: bool) -> Result<(), ApiError> {
        match self.proof {
            Proof::Session | Proof::NoneNeeded => origin::check_own(head, is_secure),
            Proof::Bearer => origin::check_given(head, is_secure),
        }
    }

    fn check_role(&self) -> Result<(), ApiError> {
        if self.role == Role::Operate {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "{} has the role read: expected a token of the role operate",
            self.name
        )))
    }
}
