//! Bounds how fast tokens can be guessed at the sign-in form.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Failed sign-ins within [`PERIOD`], of everybody together: a person mistypes a few times, and a
/// token of 16 characters takes longer than anybody has at five a minute.
const MAX_FAILED: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// The times of the last failed sign-ins, [`MAX_FAILED`] at most.
#[derive(Default)]
pub(super) struct Guesses(Mutex<VecDeque<Timestamp>>);

impl Guesses {
    /// Looks whether a guess is right, unless too many were wrong lately: then the error is the
    /// wait, and a right one fails as well. One guess at a time, so that none slips through.
    pub fn check<T>(
        &self,
        now: Timestamp,
        guess: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Duration> {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while failed.front().is_some_and(|&at| now.since(at) >= PERIOD) {
            failed.pop_front();
        }
        if failed.len() >= MAX_FAILED {
            let first = failed.front().copied().unwrap_or(now);
            return Err(PERIOD.saturating_sub(now.since(first)));
        }
        let found = guess();
        if found.is_none() {
            failed.push_back(now);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_guess_within_a_minute_is_refused_even_if_it_is_right() {
        let guesses = Guesses::default();
        let at = |seconds| Timestamp::from_millis(0).plus(Duration::from_secs(seconds));
        for second in 0..5 {
            assert_eq!(guesses.check(at(second), || None::<u8>), Ok(None));
        }
        let wait = guesses.check(at(10), || Some(1));
        assert_eq!(wait, Err(Duration::from_secs(50)));
        assert_eq!(
            guesses.check(at(59), || Some(1)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(guesses.check(at(60), || Some(1)), Ok(Some(1)));
    }

    #[test]
    fn right_guesses_are_not_counted() {
        let guesses = Guesses::default();
        let now = Timestamp::from_millis(0);
        for _ in 0..100 {
            assert_eq!(guesses.check(now, || Some(1)), Ok(Some(1)));
        }
    }
}
