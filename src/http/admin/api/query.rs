//! Reads the parameters of a request. An unknown parameter is refused: a filter with a typo would
//! otherwise show, or change, everything.

use std::fmt::Display;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::ops::moment::Moment;

/// The parameters of a query that are not read yet.
#[derive(Clone)]
pub(in crate::http::admin) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn parse(query: Option<&str>) -> Self {
        let query = query.unwrap_or_default().as_bytes();
        Self(form_urlencoded::parse(query).into_owned().collect())
    }

    /// The value of a parameter. An empty one counts as none, as forms send it.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut found = None;
        while let Some(at) = self.0.iter().position(|(key, _)| key == name) {
            if found.is_some() {
                return Err(ApiError::invalid(name, format!("{name}: expected once")));
            }
            found = Some(self.0.remove(at).1);
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// The value of a parameter that `parse` accepts, or the error with what was expected.
    pub fn take_with<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let parsed = parse(&text);
        let parsed =
            parsed.map_err(|expected| ApiError::invalid(name, format!("{name}: {expected}")));
        parsed.map(Some)
    }

    /// A whole number within bounds; `default` if it isn't given.
    pub fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        default: T,
        (low, high): (T, T),
    ) -> Result<T, ApiError> {
        let number = self.take_with(name, |text| {
            let number = text.parse().ok();
            let number = number.filter(|number| *number >= low && *number <= high);
            number.ok_or_else(|| format!("expected a whole number from {low} to {high}"))
        })?;
        Ok(number.unwrap_or(default))
    }

    /// A time (RFC 3339), or an age.
    pub fn time(&mut self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
        self.take_with(name, |text| Ok(Moment::parse(text)?.when(now)))
    }

    /// The parameters that are not read yet, by name.
    #[allow(dead_code, reason = "a build without the console reads no form")]
    pub fn into_rest(self) -> Vec<(String, String)> {
        self.0
    }

    /// Refuses parameters that nobody has read.
    pub fn end(self) -> Result<(), ApiError> {
        match self.0.first() {
            Some((name, _)) => Err(ApiError::invalid(
                name,
                format!("{name:?}: there is no such parameter; /openapi.admin.yaml lists them"),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_unknown_or_repeated_is_refused() {
        let mut parameters = Parameters::parse(Some("source=a&source=b&statsu=dead&limit="));
        assert!(parameters.take("source").is_err());
        assert_eq!(parameters.number("limit", 50, (1, 200)).expect("unset"), 50);
        assert!(parameters.end().is_err());
    }

    #[test]
    fn numbers_and_times_outside_their_range_are_refused() {
        let now = Timestamp::from_millis(10_000);
        for (query, is_good) in [
            ("limit=200", true),
            ("limit=201", false),
            ("limit=0", false),
            ("limit=-1", false),
            ("limit=1e2", false),
        ] {
            let mut parameters = Parameters::parse(Some(query));
            let limit = parameters.number("limit", 50, (1, 200));
            assert_eq!(limit.is_ok(), is_good, "{query}");
        }
        let mut parameters = Parameters::parse(Some("since=5s&until=yesterday"));
        let since = parameters.time("since", now).expect("an age");
        assert_eq!(since, Some(Timestamp::from_millis(5_000)));
        assert!(parameters.time("until", now).is_err());
    }
}
