//! Lets dead letters that block leave their lines where the configuration says that they are
//! skipped: `on_dead` was changed, or they were given up by a start, which doesn't know it.

use std::collections::HashMap;
use std::time::Duration;

use super::pauses::{REST, REST_FROM_LOOKING};
use crate::config::Live;
use crate::model::OnDead;
use crate::store::{DeadLetterCursor, DestinationId, Reader, Store, StoreError};

/// Looks for dead letters that block and shouldn't.
pub(super) struct SkippingAgent {
    store: Store,
    reader: Reader,
    config: Live,
    /// A pass over the dead letters of a destination, and how far it has come.
    pass: Option<(DestinationId, DeadLetterCursor)>,
    /// How many a destination had left after its last pass. None as a rule; otherwise there is no
    /// sense in another pass until the number changes.
    left: HashMap<DestinationId, i64>,
}

impl SkippingAgent {
    pub fn new(store: Store, reader: Reader, config: Live) -> Self {
        Self {
            store,
            reader,
            config,
            pass: None,
            left: HashMap::new(),
        }
    }

    /// Makes a step; how long to rest after it, if there was something to do.
    pub fn run_once(&mut self) -> Result<Option<Duration>, StoreError> {
        if self.pass.is_none() {
            self.pass = self.next_pass()?;
        }
        let Some((destination, cursor)) = self.pass else {
            return Ok(None);
        };
        let part = self.reader.blocking_letters(destination, cursor)?;
        let has_found = !part.letters.is_empty();
        if has_found {
            self.store.skip_dead(part.letters)?;
        }
        self.pass = part.next.map(|next| (destination, next));
        if self.pass.is_none() {
            self.left.insert(destination, self.count(destination));
        }
        Ok(Some(if has_found { REST } else { REST_FROM_LOOKING }))
    }

    /// The next destination that skips its dead letters and has some that block.
    fn next_pass(&mut self) -> Result<Option<(DestinationId, DeadLetterCursor)>, StoreError> {
        let config = self.config.current();
        for (id, count) in self.store.blocking().into_iter().flatten() {
            if count <= 0 || self.left.get(&id) == Some(&count) {
                continue;
            }
            let name = self.reader.destination_name(id)?.unwrap_or_default();
            // One that is gone from the configuration may come back as it was.
            let policy = config.destinations.get(&name);
            if policy.is_some_and(|policy| policy.on_dead() != Some(OnDead::Block)) {
                log::info!(
                    destination = name.as_str(), dead_letters = count;
                    "dead letters no longer block the deliveries after them"
                );
                return Ok(Some((id, DeadLetterCursor::START)));
            }
        }
        Ok(None)
    }

    fn count(&self, destination: DestinationId) -> i64 {
        let mut counts = self.store.blocking().into_iter().flatten();
        counts
            .find(|(id, _)| *id == destination)
            .map_or(0, |(_, count)| count)
    }
}
