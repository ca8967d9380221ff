//! Notifications from node to node: something is due for destinations of yours.
//!
//! A notification names slots, with a space between two. A slot is followed by the destinations
//! that got an event, as in `3:17,18 5:20`; one without any is to look by itself.

use super::connection::Connection;
use super::destinations::Known;
use super::failure::Failure;
use crate::store::types::DestinationId;

/// Destinations that one notification names; of more, none is named. A payload may have 7 999
/// bytes, and a destination takes 11 at most, its comma included.
const MOST_NAMED: usize = 500;

/// Notifies the owners of buckets. $1: buckets; $2: a destination of each, or NULL.
const TELL: &str = "
SELECT pg_notify('relay', string_agg(owned.slot || owned.ids, ' '))
FROM (SELECT n.slot, coalesce(':' || string_agg(t.id::text, ','), '') AS ids
      FROM unnest($1::int2[], $2::int4[]) AS t(bucket, id)
      JOIN relay.buckets b ON b.bucket = t.bucket
      JOIN relay.nodes n ON n.epoch = b.epoch
      GROUP BY n.slot) AS owned
HAVING count(*) > 0";

/// Notifies the owners of destinations that got events, which are durable. The notification is a
/// transaction of its own: transactions that notify are committed one after the other, and would
/// wait for each other's disk.
pub fn tell(sql: &mut Connection, destinations: &[Known]) -> Result<(), Failure> {
    if destinations.is_empty() {
        return Ok(());
    }
    let buckets: Vec<i16> = destinations.iter().map(|one| one.bucket).collect();
    let is_few = destinations.len() <= MOST_NAMED;
    let ids = destinations.iter().map(|one| one.id);
    let ids: Vec<Option<DestinationId>> = ids.map(|id| is_few.then_some(id)).collect();
    sql.send(TELL, &[&buckets, &ids])
}

/// The part of a notification that is for one node.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// These destinations got events.
    Arrived(Vec<DestinationId>),
    /// Something is due.
    Look,
}

impl Told {
    /// None if the notification is for others.
    pub fn of(payload: &str, slot: i16) -> Option<Self> {
        let own = slot.to_string();
        let mut words = payload.split(' ');
        words.find_map(|word| match word.split_once(':') {
            Some((of, ids)) if of == own => {
                let ids = ids.split(',').map(|id| id.parse().map(DestinationId));
                Some(
                    ids.collect::<Result<_, _>>()
                        .map_or(Self::Look, Self::Arrived),
                )
            }
            None if word == own => Some(Self::Look),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
