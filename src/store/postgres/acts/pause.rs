//! Pauses and resumes a destination.

use super::end_hold::lift;
use super::making::locks::POKE;
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::acts::destination;
use crate::store::postgres::connection::{Call, Connection};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::retry::once;
use crate::store::postgres::text::Text;
use crate::store::types::{DestinationId, Pause, Resumed};

/// Pauses a destination unless it is paused; the pause that it was in before.
const PAUSE: &str = "
WITH before AS MATERIALIZED (
    SELECT id, paused_at, pause_reason FROM relay.destinations WHERE id = $1 FOR NO KEY UPDATE),
paused AS (
    UPDATE relay.destinations t SET paused_at = $2::int8, pause_reason = $3::bytea
    FROM before b WHERE t.id = b.id AND b.paused_at IS NULL)
SELECT paused_at, pause_reason FROM before WHERE paused_at IS NOT NULL";

/// Resumes a destination, unless it was paused anew since the pause of $3: whether anything kept
/// its deliveries back, and the pause that stays.
const RESUME: &str = "
WITH before AS MATERIALIZED (
    SELECT id, paused_at, pause_reason, held_until FROM relay.destinations WHERE id = $1
    FOR NO KEY UPDATE),
resumed AS (
    UPDATE relay.destinations t
    SET paused_at = NULL, pause_reason = NULL, held_until = NULL
    FROM before b
    WHERE t.id = b.id AND (b.paused_at IS NOT NULL OR b.held_until > $2::int8)
      AND ($3::int8 IS NULL OR b.paused_at IS NULL OR b.paused_at = $3::int8)
    RETURNING t.id)
SELECT (SELECT id FROM resumed),
       CASE WHEN b.paused_at <> $3::int8 THEN b.paused_at END, b.pause_reason
FROM before b";

fn pause(
    sql: &mut Connection,
    destination: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Pause>, Failure> {
    // A destination that nothing was ever sent to can be paused too.
    let id = destination::ensure(sql, destination)?;
    let ids = [id];
    let ids: &[DestinationId] = &ids;
    let answers =
        sql.transaction(&[(PAUSE, &[&id, &now, &Text::from(reason)]), (POKE, &[&ids])])?;
    let Some(row) = answers.into_iter().next().into_iter().flatten().next() else {
        return Ok(None);
    };
    let reason: Text<'_> = row.try_get(1)?;
    Ok(Some(Pause {
        at: row.try_get(0)?,
        reason: reason.into(),
    }))
}

fn resume(
    sql: &mut Connection,
    destination: &str,
    paused_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Resumed, Option<DestinationId>), Failure> {
    let Some(id) = destination::find(sql, destination)? else {
        return Ok((Resumed::Already, None));
    };
    let resuming: Call<'_> = (RESUME, &[&id, &now, &paused_at]);
    let Some(row) = lift(sql, (id, destination), resuming, (now, paused_at))? else {
        return Ok((Resumed::Already, None));
    };
    let resumed: Option<DestinationId> = row.try_get(0)?;
    let since: Option<Timestamp> = row.try_get(1)?;
    Ok(match (resumed, since) {
        (Some(id), _) => (Resumed::Now, Some(id)),
        (None, Some(at)) => {
            let reason: Text<'_> = row.try_get(2)?;
            let pause = Pause {
                at,
                reason: reason.into(),
            };
            (Resumed::PausedSince(pause), None)
        }
        (None, None) => (Resumed::Already, None),
    })
}

fn is_resumed((resumed, _): &(Resumed, Option<DestinationId>)) -> bool {
    *resumed != Resumed::Already
}

impl Postgres {
    /// Pauses a destination. Returns the pause that it was in before, which stays.
    pub async fn pause(
        &self,
        destination: String,
        reason: String,
    ) -> Result<Option<Pause>, StoreError> {
        let now = self.shared().clock.now();
        let pausing = move |sql: &mut Connection| pause(sql, &destination, &reason, now);
        let before = self.change_async(once(pausing, Option::is_none)).await?;
        (self.shared().on_outside_write)();
        Ok(before)
    }

    /// Resumes a destination; only from the pause of `paused_at`, if given.
    pub async fn resume(
        &self,
        destination: String,
        paused_at: Option<Timestamp>,
    ) -> Result<Resumed, StoreError> {
        let now = self.shared().clock.now();
        let resuming = move |sql: &mut Connection| resume(sql, &destination, paused_at, now);
        let (resumed, due) = self.change_async(once(resuming, is_resumed)).await?;
        if let Some(id) = due {
            (self.shared().on_work)(&[id]);
        }
        (self.shared().on_outside_write)();
        Ok(resumed)
    }
}

impl Operator {
    /// Pauses a destination: nothing is sent to it until it is resumed. Whether it was not paused
    /// before.
    pub fn pause(&mut self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let pausing = |sql: &mut Connection| pause(sql, destination, reason, now);
        let before = self.change(once(pausing, Option::is_none))?;
        Ok(before.is_none())
    }

    /// Resumes a destination; whether anything kept its deliveries back.
    pub fn resume(&mut self, destination: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let resuming = |sql: &mut Connection| resume(sql, destination, None, now);
        let (resumed, _) = self.change(once(resuming, is_resumed))?;
        Ok(resumed == Resumed::Now)
    }
}

#[cfg(test)]
impl Postgres {
    /// Pauses a destination; whether it was not paused before.
    pub fn pause_blocking(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        let now = self.shared().clock.now();
        let before = self.change(|sql| pause(sql, destination, reason, now))?;
        Ok(before.is_none())
    }
}

#[cfg(test)]
mod tests;
