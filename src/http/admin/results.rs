//! The results of the console's forms, which the page after a form tells. The page's address has
//! only their number, so that no link can put words into the console's mouth.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Results that are kept: those of the last few minutes, however busy people are.
const KEPT: usize = 64;

/// The last results, each with its random number.
#[derive(Default)]
pub(in crate::http) struct Results(Mutex<VecDeque<(String, String)>>);

impl Results {
    /// Keeps a result, and returns its number.
    pub fn add(&self, text: String) -> String {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= KEPT {
            results.pop_front();
        }
        results.push_back((id.clone(), text));
        id
    }

    /// The result of this number.
    pub fn find(&self, id: &str) -> Option<String> {
        let results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = results.iter().find(|(known, _)| known == id);
        found.map(|(_, text)| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_by_its_number_until_64_others_came() {
        let results = Results::default();
        let id = results.add("paused".to_owned());
        assert_eq!(results.find(&id).as_deref(), Some("paused"));
        assert_eq!(results.find("0123456789abcdef"), None);
        for _ in 0..64 {
            results.add("more".to_owned());
        }
        assert_eq!(results.find(&id), None);
    }
}
