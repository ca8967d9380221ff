//! Dead letters that no longer block the deliveries behind them.

use super::making::locks::{ADVANCE_LINES_OF, LOCK_DESTINATIONS, POKE};
use crate::store::error::StoreError;
use crate::store::postgres::connection::Param;
use crate::store::postgres::handle::Postgres;
use crate::store::types::{BlockingLetters, DestinationId};

/// One that was replayed or discarded since it was found stays as it is. $1: destination; $2:
/// intents.
const LEAVE: &str = "UPDATE relay.ended SET place = NULL
     WHERE destination_id = $1::int4 AND intent_id = ANY($2::int8[]) AND state = 4
       AND place IS NOT NULL";

impl Postgres {
    /// Lets dead letters no longer block the deliveries behind them. Blocks.
    pub fn skip_dead(&self, letters: BlockingLetters) -> Result<(), StoreError> {
        let BlockingLetters {
            destination,
            intents,
        } = &letters;
        let (now, is_operators) = (self.shared().clock.now(), false);
        let destinations: [DestinationId; 1] = [*destination];
        let destinations: &[DestinationId] = &destinations;
        let advanced = self.change(|sql| {
            let lock: [Param<'_>; 1] = [&destinations];
            let leave: [Param<'_>; 2] = [destination, intents];
            let advance: [Param<'_>; 3] = [intents, &now, &is_operators];
            let answers = sql.transaction(&[
                (LOCK_DESTINATIONS, &lock),
                (LEAVE, &leave),
                (ADVANCE_LINES_OF, &advance),
                (POKE, &lock),
            ])?;
            Ok(!answers[2].is_empty())
        })?;
        if advanced {
            (self.shared().on_work)(destinations);
        }
        Ok(())
    }
}
