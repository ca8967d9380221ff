//! The statements of membership. Whether a lease has lapsed is judged here alone, by the database's
//! clock.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::store::postgres::asked_reloads::ReloadCounts;
use crate::store::postgres::connection::{Call, Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::membership::{Answer, Identity, Peer, Step, View};
use crate::store::postgres::open::SchemaVersion;
use crate::store::postgres::recover::{MAX_INTERRUPTIONS, STAGGER_MILLIS, TAKE_BACK};

/// Lives that are over and still have buckets: each gives them up as it ends, unless somebody
/// deleted its row by hand.
const LOST: &str = "SELECT DISTINCT epoch FROM relay.buckets b
     WHERE epoch IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM relay.nodes n WHERE n.epoch = b.epoch)";

/// Locks the buckets of lives before they are freed, in the order in which pokes lock them.
/// $1: epochs.
const LOCK_OF: &str = "SELECT 1 FROM relay.buckets WHERE epoch = ANY($1::int8[])
     ORDER BY bucket FOR NO KEY UPDATE";

/// The same of buckets that change hands. $1: those that are given or grabbed.
const LOCK: &str = "SELECT 1 FROM relay.buckets WHERE bucket = ANY($1::int2[])
     ORDER BY bucket FOR NO KEY UPDATE";

/// In a statement after the one that finds them: a bucket that another node has grabbed since has
/// another epoch.
const FREE_LOST: &str = "UPDATE relay.buckets SET epoch = NULL WHERE epoch = ANY($1)";

const JOIN: &str = "WITH free AS (
         SELECT s FROM generate_series(0, 31) s
         WHERE NOT EXISTS (SELECT 1 FROM relay.nodes WHERE slot = s)
           AND NOT EXISTS (SELECT 1 FROM relay.about
                           WHERE unfinished_move IS NOT NULL OR moved_away IS NOT NULL)
         ORDER BY s LIMIT 1)
     INSERT INTO relay.nodes (slot, epoch, name, version, seen_at, lease)
     SELECT s, nextval('relay.epochs'), $1, $2, clock_timestamp(),
            $3::int8 * interval '1 millisecond'
     FROM free ON CONFLICT DO NOTHING RETURNING slot, epoch";

/// The slots, as [`JOIN`] has them.
const SLOTS: usize = 32;

const NAMESAKE: &str = "SELECT slot, epoch, seen_at < clock_timestamp() - lease, is_leaving
     FROM relay.nodes WHERE name = $1";

const RENEW: &str = "UPDATE relay.nodes SET seen_at = clock_timestamp(), is_leaving = $3
     WHERE slot = $1 AND epoch = $2
     RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::int8, reloads, dry_runs";

const OTHERS: &str = "SELECT slot, epoch, seen_at < clock_timestamp() - lease, is_leaving
     FROM relay.nodes WHERE epoch <> $1";

const OPEN_BUCKETS: &str = "SELECT bucket, epoch IS NOT NULL FROM relay.buckets
     WHERE epoch = $1 OR epoch IS NULL";

/// Judges the lease anew: the node may have renewed it since it was looked at.
const TAKE_OVER: &str = "DELETE FROM relay.nodes
     WHERE slot = $1 AND epoch = $2 AND seen_at < clock_timestamp() - lease RETURNING slot";

const LEAVE: &str = "DELETE FROM relay.nodes WHERE slot = $1 AND epoch = $2 RETURNING slot";

/// In a statement after the one that deletes the row.
const FREE: &str = "UPDATE relay.buckets SET epoch = NULL
     WHERE epoch = $1 AND NOT EXISTS (SELECT 1 FROM relay.nodes WHERE epoch = $1)
     RETURNING bucket";

const GIVE: &str = "UPDATE relay.buckets SET epoch = NULL
     WHERE bucket = ANY($1) AND epoch = $2 RETURNING bucket";

const GRAB: &str = "UPDATE relay.buckets SET epoch = $3
     WHERE bucket = ANY($1) AND epoch IS NULL
       AND EXISTS (SELECT 1 FROM relay.nodes WHERE slot = $2 AND epoch = $3 FOR KEY SHARE)
     RETURNING bucket";

/// Wakes the other nodes' heartbeats.
pub const TELL: &str = "SELECT pg_notify('relay', 'nodes')";

/// Buckets of which something is claimed by this epoch and neither settled nor released: a turn
/// stays until all of it is.
const CLAIMED: &str = "SELECT DISTINCT d.bucket
     FROM relay.claimed c
     JOIN relay.waiting w ON w.intent_id = ANY(ARRAY[c.intent_id])
          AND w.destination_id = ANY(ARRAY[c.destination_id])
          AND w.attempts = c.attempt - 1 AND w.history = c.history
     CROSS JOIN LATERAL (
         SELECT bucket FROM relay.destinations WHERE id = c.destination_id OFFSET 0) AS d
     WHERE c.epoch = $1";

/// A node's own part of the statements.
pub struct Own {
    pub name: String,
    pub lease_millis: i64,
    pub identity: Option<Identity>,
    pub is_leaving: bool,
    /// The time to record.
    pub now: Timestamp,
}

/// The answer of a step, and what became of a life's claims that were ended by it.
pub struct Made {
    pub answer: Answer,
    /// Read by a renewal alone.
    pub news: Option<News>,
    /// Deliveries that were interrupted.
    pub interrupted: i64,
}

/// The facts that a heartbeat reads beside the nodes.
#[derive(Clone, Copy)]
pub struct News {
    /// The database's clock, in microseconds since the Unix epoch.
    pub database_time: i64,
    pub schema: SchemaVersion,
    pub reloads: ReloadCounts,
}

/// Makes a step.
pub fn make(sql: &mut Connection, step: &Step, own: &Own) -> Result<Made, Failure> {
    let (mut interrupted, mut news) = (0, None);
    let answer = match step {
        Step::Join => join(sql, own)?,
        Step::Renew => {
            let (answer, read) = renew(sql, own)?;
            news = read;
            answer
        }
        Step::Look => {
            let epoch = own.epoch()?;
            let rows = sql.transaction(&[(OTHERS, &[&epoch]), (OPEN_BUCKETS, &[&epoch])])?;
            Answer::Saw(view(&rows)?)
        }
        Step::TakeOver(other) => {
            interrupted = end(sql, TAKE_OVER, *other, own.now)?;
            Answer::TookOver
        }
        Step::Exchange { give, grab } => exchange(sql, own, *give, *grab)?,
        Step::Leave => {
            let identity = own.identity.ok_or_else(unjoined)?;
            interrupted = end(sql, LEAVE, identity, own.now)?;
            Answer::Left
        }
    };
    Ok(Made {
        answer,
        news,
        interrupted,
    })
}

/// The buckets of which this life has claims.
pub fn claimed(sql: &mut Connection, epoch: i64) -> Result<BucketSet, Failure> {
    buckets(&sql.rows(CLAIMED, &[&epoch])?)
}

/// Frees the buckets of lives that are over.
fn free_lost(sql: &mut Connection) -> Result<(), Failure> {
    let lost = sql.rows(LOST, &[])?;
    let lost = lost.iter().map(|row| row.try_get(0));
    let lost: Vec<i64> = lost.collect::<Result<_, _>>()?;
    if !lost.is_empty() {
        sql.transaction(&[(LOCK_OF, &[&lost]), (FREE_LOST, &[&lost])])?;
    }
    Ok(())
}

impl Own {
    fn epoch(&self) -> Result<i64, Failure> {
        let identity = self.identity.ok_or_else(unjoined)?;
        Ok(identity.epoch)
    }
}

fn unjoined() -> Failure {
    Failure::unexpected("the node has not joined".to_owned())
}

fn join(sql: &mut Connection, own: &Own) -> Result<Answer, Failure> {
    free_lost(sql)?;
    let version = env!("CARGO_PKG_VERSION");
    // Nodes that begin together choose the same free slot, and all but one of them choose again:
    // once for each other slot at most.
    for _ in 0..SLOTS {
        if let Some(row) = sql.first(JOIN, &[&own.name, &version, &own.lease_millis])? {
            return Ok(Answer::Joined(identity(&row)?));
        }
        if let Some(row) = sql.first(NAMESAKE, &[&own.name])? {
            return Ok(Answer::Occupied(peer(&row)?));
        }
    }
    Err(Failure::unexpected(format!(
        "all {SLOTS} slots are taken: expected as many nodes at most; or everything was moved away"
    )))
}

/// Renews the lease, and reads everything that a heartbeat looks at.
fn renew(sql: &mut Connection, own: &Own) -> Result<(Answer, Option<News>), Failure> {
    let identity = own.identity.ok_or_else(unjoined)?;
    let (slot, epoch) = (i16::from(identity.slot), identity.epoch);
    let rows = sql.transaction(&[
        (RENEW, &[&slot, &epoch, &own.is_leaving]),
        (OTHERS, &[&epoch]),
        (OPEN_BUCKETS, &[&epoch]),
        (SchemaVersion::SELECT, &[]),
    ])?;
    let Some([renewed]) = rows.first().map(Vec::as_slice) else {
        return Ok((Answer::Renewed(None), None));
    };
    let about = rows.get(3).and_then(|rows| rows.first());
    let about = about.ok_or_else(|| Failure::unexpected("relay.about has no row".to_owned()))?;
    let news = News {
        database_time: renewed.try_get(0)?,
        reloads: ReloadCounts {
            reloads: renewed.try_get(1)?,
            dry_runs: renewed.try_get(2)?,
        },
        schema: SchemaVersion::of(about)?,
    };
    Ok((Answer::Renewed(Some(view(&rows[1..])?)), Some(news)))
}

/// Deletes a node's row, and ends its claims. How many deliveries were interrupted.
fn end(
    sql: &mut Connection,
    delete: &'static str,
    of: Identity,
    now: Timestamp,
) -> Result<i64, Failure> {
    let (slot, epoch, now) = (i16::from(of.slot), of.epoch, now.as_millis());
    let rows = sql.transaction(&[
        (delete, &[&slot, &epoch]),
        (
            TAKE_BACK,
            &[&epoch, &now, &MAX_INTERRUPTIONS, &STAGGER_MILLIS],
        ),
        (LOCK_OF, &[&[epoch].as_slice()]),
        (FREE, &[&epoch]),
        (TELL, &[]),
    ])?;
    let taken_back = rows.get(1).and_then(|rows| rows.first());
    Ok(taken_back.map_or(Ok(0), |row| row.try_get(0))?)
}

fn exchange(
    sql: &mut Connection,
    own: &Own,
    give: BucketSet,
    grab: BucketSet,
) -> Result<Answer, Failure> {
    let identity = own.identity.ok_or_else(unjoined)?;
    let (slot, epoch) = (i16::from(identity.slot), identity.epoch);
    let (give, grab) = (give.to_array(), grab.to_array());
    let all = [give.as_slice(), &grab].concat();
    let lock_params: [Param<'_>; 1] = [&all];
    let give_params: [Param<'_>; 2] = [&give, &epoch];
    let grab_params: [Param<'_>; 3] = [&grab, &slot, &epoch];
    let given: [Call<'_>; 4] = [
        (LOCK, &lock_params),
        (GIVE, &give_params),
        (GRAB, &grab_params),
        (TELL, &[]),
    ];
    // Nobody waits for what was only grabbed.
    let statements = if give.is_empty() {
        &given[..3]
    } else {
        &given[..]
    };
    let rows = sql.transaction(statements)?;
    let of = |at: usize| buckets(rows.get(at).map_or(&[][..], Vec::as_slice));
    Ok(Answer::Exchanged {
        gave: of(1)?,
        grabbed: of(2)?,
    })
}

fn view(rows: &[Vec<Row>]) -> Result<View, Failure> {
    let others = rows.first().into_iter().flatten().map(peer);
    let mut view = View {
        others: others.collect::<Result<_, _>>()?,
        ..View::default()
    };
    for row in rows.get(1).into_iter().flatten() {
        let (bucket, is_mine) = (bucket(row)?, row.try_get(1)?);
        let set = if is_mine {
            &mut view.mine
        } else {
            &mut view.free
        };
        set.insert(bucket);
    }
    Ok(view)
}

fn peer(row: &Row) -> Result<Peer, Failure> {
    Ok(Peer {
        identity: identity(row)?,
        has_lapsed: row.try_get(2)?,
        is_leaving: row.try_get(3)?,
    })
}

fn identity(row: &Row) -> Result<Identity, Failure> {
    let slot: i16 = row.try_get(0)?;
    let slot = u8::try_from(slot).map_err(|_| Failure::unexpected(format!("slot {slot}")))?;
    Ok(Identity {
        slot,
        epoch: row.try_get(1)?,
    })
}

fn buckets(rows: &[Row]) -> Result<BucketSet, Failure> {
    rows.iter().map(bucket).collect()
}

fn bucket(row: &Row) -> Result<u8, Failure> {
    let bucket: i16 = row.try_get(0)?;
    u8::try_from(bucket).map_err(|_| Failure::unexpected(format!("bucket {bucket}")))
}

#[cfg(test)]
mod tests;
