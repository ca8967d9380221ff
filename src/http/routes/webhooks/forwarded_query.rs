//! The query string of an event on its way to the destinations.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The query as it was sent, without the fields of these names, which hold secrets of this hop.
/// None if nothing is left.
pub(super) fn forwarded_query<'a>(
    query: Option<&'a str>,
    secret_fields: &[String],
) -> Option<Cow<'a, str>> {
    let query = query?;
    let forwarded = if secret_fields.is_empty() {
        Cow::Borrowed(query)
    } else {
        let fields = query.split('&').filter(|field| {
            let name = field
                .split('=')
                .next()
                .unwrap_or_default()
                .replace('+', " ");
            let name: Vec<u8> = percent_decode(name.as_bytes()).collect();
            !secret_fields.iter().any(|secret| secret.as_bytes() == name)
        });
        Cow::Owned(fields.collect::<Vec<_>>().join("&"))
    };
    Some(forwarded).filter(|query| !query.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_this_hop_are_left_out_however_they_are_encoded() {
        let secret = ["access_token".to_owned(), "a b".to_owned()];
        for (query, expected) in [
            ("a=1&b=%20", Some("a=1&b=%20")),
            ("a=1&access_token=s&b=2", Some("a=1&b=2")),
            ("access%5Ftoken=s", None),
            ("access_token", None),
            ("access_token=s&access_token=t&c", Some("c")),
            ("a+b=1&a%20b=2&ab=3", Some("ab=3")),
            ("", None),
        ] {
            assert_eq!(
                forwarded_query(Some(query), &secret).as_deref(),
                expected,
                "{query}"
            );
        }
        assert_eq!(forwarded_query(None, &secret), None);
        assert_eq!(
            forwarded_query(Some("access_token=s"), &[]).as_deref(),
            Some("access_token=s")
        );
    }
}
