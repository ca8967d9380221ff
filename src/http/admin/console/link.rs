//! Addresses of the console's pages.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A path with these parameters; those without a value are left out.
pub(super) fn with(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{query}")
}

/// The page of a destination. An ad hoc origin's name has slashes.
pub(super) fn destination(name: &str) -> String {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("/destinations/{name}")
}

/// The page of a relay or event.
pub(super) fn event(public_id: &str) -> String {
    format!("/events/{public_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_names_are_encoded() {
        let path = with("/a", &[("x", Some("1&2 ü")), ("y", None), ("z", Some(""))]);
        assert_eq!(path, "/a?x=1%262+%C3%BC&z=");
        assert_eq!(with("/a", &[("x", None)]), "/a");
        assert_eq!(
            destination("https://a.example:1"),
            "/destinations/https%3A%2F%2Fa%2Eexample%3A1"
        );
    }
}
