//! The cookie that holds a session's id.

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use super::sessions::{LONGEST, SessionId};

/// The cookie of one listener. Browsers send a host's cookies to all of its ports, so that the port
/// is in the name: two relays on a machine keep their sessions apart.
pub(super) struct SessionCookie {
    name: String,
}

impl SessionCookie {
    pub fn new(port: u16) -> Self {
        let name = format!("relay_{port}");
        Self { name }
    }

    /// The session's id that a request brings. Of several none counts: one of them comes from
    /// somebody else.
    pub fn read(&self, headers: &HeaderMap) -> Option<SessionId> {
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => SessionId::parse(value),
            _ => None,
        }
    }

    /// The header that sets it.
    pub fn set(&self, id: SessionId, is_secure: bool) -> HeaderValue {
        self.header(&id.text(), LONGEST.as_secs(), is_secure)
    }

    /// The header that removes it.
    pub fn remove(&self) -> HeaderValue {
        self.header("", 0, false)
    }

    fn header(&self, value: &str, seconds: u64, is_secure: bool) -> HeaderValue {
        let name = &self.name;
        let secure = if is_secure { "; Secure" } else { "" };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).expect("all of it is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_among_others_and_refused_if_it_comes_twice() {
        let cookie = SessionCookie::new(8081);
        let id = "ab".repeat(32);
        let read = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, line.parse().expect("a value"));
            }
            cookie.read(&headers).map(SessionId::text)
        };
        let ours = format!("relay_8081={id}");
        assert_eq!(read(std::slice::from_ref(&ours)), Some(id.clone()));
        assert_eq!(read(&[format!("a=b; {ours}; c=d")]), Some(id.clone()));
        assert_eq!(read(&[format!("relay_8082={id}")]), None);
        assert_eq!(read(&[format!("xrelay_8081={id}")]), None);
        assert_eq!(read(&[format!("{ours}; {ours}")]), None);
        assert_eq!(read(&[ours.clone(), ours]), None);
        assert_eq!(read(&["relay_8081=".to_owned()]), None);
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let id = SessionId::parse(&"ab".repeat(32)).expect("an id");
        let cookie = SessionCookie::new(8081);
        let text = cookie.set(id, false);
        let text = text.to_str().expect("text");
        assert!(text.starts_with("relay_8081=abab"), "{text}");
        for part in ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("Secure"));
        let secure = cookie.set(id, true);
        assert!(secure.to_str().expect("text").ends_with("; Secure"));
        let removed = cookie.remove();
        assert!(removed.to_str().expect("text").contains("Max-Age=0"));
    }
}
