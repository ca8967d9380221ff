//! Sessions of people who have signed in with a token. They are kept in memory: a restart signs
//! everybody out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;

/// Sessions at once: a few people with a few browsers each. One more ends the session that was
/// unused for longest.
const MAX_SESSIONS: usize = 64;
/// The time after which a session ends, used or not: a working day.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// The time after which an unused session ends. A visible page uses its session every 5 s.
const IDLE: Duration = Duration::from_secs(3600);

/// The SHA-256 digest of a token, or of a session's id.
pub(in crate::http::admin) type TokenDigest = [u8; 32];

/// A session's id: 256 random bits, which only the browser keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionId([u8; 32]);

impl SessionId {
    fn random() -> Self {
        Self(rand::random())
    }

    /// Reads a cookie's value; none if it is no id.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }

    /// The cookie's value.
    pub fn text(self) -> String {
        hex::encode(self.0)
    }

    /// The key under which its session is kept. A look-up by the digest takes a time that tells
    /// nothing about the id.
    fn digest(self) -> TokenDigest {
        Sha256::digest(self.0).into()
    }
}

#[derive(Clone, Copy)]
struct Session {
    /// The token with which the person signed in.
    token: TokenDigest,
    begun: Timestamp,
    used: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.begun) >= LONGEST || now.since(self.used) >= IDLE
    }
}

/// The sessions by the digest of their id.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<TokenDigest, Session>>);

impl Sessions {
    /// Begins a session of the holder of a token.
    pub fn begin(&self, token: TokenDigest, now: Timestamp) -> SessionId {
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MAX_SESSIONS {
            let unused = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(key) = unused.map(|(key, _)| *key) {
                sessions.remove(&key);
            }
        }
        let id = SessionId::random();
        let session = Session {
            token,
            begun: now,
            used: now,
        };
        sessions.insert(id.digest(), session);
        id
    }

    /// The token of a session, which counts as used; none if the session is over.
    pub fn token(&self, id: SessionId, now: Timestamp) -> Option<TokenDigest> {
        let mut sessions = self.lock();
        let key = id.digest();
        let session = sessions.get_mut(&key)?;
        if session.is_over(now) {
            sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.token)
    }

    /// Ends a session.
    pub fn end(&self, id: SessionId) {
        self.lock().remove(&id.digest());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, Session>> {
        // Each change is whole: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
