//! The digest of new dead letters: when it is due, and what it says.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::alert::{AlertKind, Change};
use super::look::Look;
use crate::clock::Timestamp;
use crate::store::{
    DeadLetterDigest, DeadLetterId, DeadLetterQuery, DestinationId, NewlyDead, Reader, Store,
    StoreError,
};

/// How long the first dead letters are collected.
const COLLECT: Duration = Duration::from_secs(10);
/// The shortest time between two digests.
const BETWEEN: Duration = Duration::from_secs(300);
/// The shortest time between two searches for dead letters of other processes: one costs as much as
/// there are destinations with dead letters.
const SEARCH_EVERY: Duration = Duration::from_secs(10);
/// Destinations and reasons that a digest names.
const NAMED: usize = 10;

/// The state before the first digest: only later dead letters are told.
const BEGUN: &str = "begun";
/// The state after a digest, of which `since` is the end of the time that it covers.
const TOLD: &str = "told";

/// Follows new dead letters. The database has them, and the time up to which they were told: after
/// a kill the next start finds the rest.
#[derive(Debug)]
pub(super) struct DeadLetterWatch {
    /// Destinations with new dead letters.
    known: BTreeSet<DestinationId>,
    /// Those noted since the last look, for the next one: the time of a digest ends before them.
    newer: BTreeSet<DestinationId>,
    /// Whether destinations have to be searched for: after a start, or when there were too many.
    must_search: bool,
    searched_at: Option<Timestamp>,
    /// When the first of them was noted.
    noted_at: Option<Timestamp>,
    began_at: Timestamp,
}

impl DeadLetterWatch {
    /// Where there were no alerts before, those of dead letters begin at this time.
    pub fn new(began_at: Timestamp) -> Self {
        Self {
            began_at,
            known: BTreeSet::new(),
            newer: BTreeSet::new(),
            must_search: true,
            searched_at: None,
            noted_at: None,
        }
    }

    /// There are no alerts yet: those of dead letters begin at this time.
    pub fn begin(&mut self, now: Timestamp) {
        self.began_at = now;
    }

    /// The change of state that is due. `except` is the alerts' destination.
    pub fn change(
        &mut self,
        store: &Store,
        reader: &Reader,
        except: &str,
        look: &Look<'_>,
    ) -> Result<Option<Change>, StoreError> {
        self.known.append(&mut self.newer);
        let kind = AlertKind::DeadLettered;
        let Some((state, since)) = look.states.get(kind, "") else {
            let begun = look.change(kind, "", BEGUN, None);
            let since = self.began_at;
            return Ok(Some(Change { since, ..begun }));
        };
        let is_soon = state == TOLD && look.now.since(since) < BETWEEN;
        self.note(store.take_newly_dead());
        self.must_search |= !is_soon && store.is_shared() && self.is_search_old(look.now);
        if self.must_search {
            self.known.extend(reader.with_dead_letters(since)?);
            self.must_search = false;
            self.searched_at = Some(look.now);
        }
        if self.known.is_empty() && self.newer.is_empty() {
            self.noted_at = None;
            return Ok(None);
        }
        let noted_at = *self.noted_at.get_or_insert(look.now);
        let is_early = look.now.since(noted_at) < COLLECT;
        // A digest covers the first of them, which other processes may still be committing.
        let until = if is_early || is_soon {
            None
        } else {
            Some(store.settled_until()?).filter(|until| *until > noted_at)
        };
        let Some(until) = until else {
            self.known.append(&mut self.newer);
            return Ok(None);
        };
        let destinations: Vec<_> = self.known.iter().copied().collect();
        let digest = reader.dead_letter_digest(&DeadLetterQuery {
            destinations: &destinations,
            except,
            from: since,
            until,
        })?;
        if digest.count == 0 {
            // Replayed by now, or those of the alerts' own destination.
            self.told();
            return Ok(None);
        }
        let alert = look.alert(kind, "", summary(&digest), data(&digest, since));
        let told = look.change(kind, "", TOLD, Some(alert));
        Ok(Some(Change {
            since: until,
            ..told
        }))
    }

    /// Whether others that share the store may have given something up since the last search: this
    /// process notes only its own.
    fn is_search_old(&self, now: Timestamp) -> bool {
        let searched_at = self.searched_at;
        searched_at.is_none_or(|at| now.since(at) >= SEARCH_EVERY)
    }

    fn note(&mut self, newly_dead: NewlyDead) {
        self.newer.extend(newly_dead.destinations);
        self.must_search |= newly_dead.has_more;
    }

    /// Changes were made: if they tell of dead letters, those are no longer new.
    pub fn made(&mut self, changes: &[Change]) {
        let is_digest =
            |change: &Change| change.kind == AlertKind::DeadLettered && change.state == TOLD;
        if changes.iter().any(is_digest) {
            self.told();
        }
    }

    fn told(&mut self) {
        self.known.clear();
        self.noted_at = None;
    }
}

fn count(digest: &DeadLetterDigest) -> String {
    if digest.is_cut_short {
        format!("more than {}", digest.count)
    } else {
        digest.count.to_string()
    }
}

fn listed(counts: &[(String, u64)]) -> String {
    let named: Vec<_> = counts
        .iter()
        .take(3)
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let more = counts.len().saturating_sub(3);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    named.join(", ") + &rest
}

fn summary(digest: &DeadLetterDigest) -> String {
    format!(
        "{} deliveries were given up, to {}: {}; relay list --status dead_lettered shows them",
        count(digest),
        listed(&digest.destinations),
        listed(&digest.reasons)
    )
}

fn data(digest: &DeadLetterDigest, since: Timestamp) -> serde_json::Value {
    let counts = |name: &str, counts: &[(String, u64)]| {
        let counts = counts.iter().take(NAMED);
        let counts = counts.map(|(text, count)| json!({ name: text, "count": count }));
        counts.collect::<Vec<_>>()
    };
    json!({
        "count": digest.count,
        "is_exact": !digest.is_cut_short,
        "since": since,
        "destinations": counts("destination", &digest.destinations),
        "reasons": counts("reason", &digest.reasons),
        "event_ids": digest.first.iter().map(public_id).collect::<Vec<_>>(),
    })
}

/// The id by which the event or relay is found.
fn public_id(dead: &DeadLetterId) -> String {
    if dead.is_event {
        format!("evt_{}", dead.id)
    } else {
        dead.id.to_string()
    }
}
