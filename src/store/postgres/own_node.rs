//! This process's life among the nodes, as the other parts see it.

use std::sync::{Arc, Mutex, PoisonError};

use super::connection::Connection;
use super::failure::Failure;

/// One life of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The low bits of the ids that it gives to what it accepts.
    pub slot: i16,
    /// Never used twice: a claim names the life that made it.
    pub epoch: i64,
    /// The buckets whose destinations it delivers to.
    pub buckets: Arc<[i16]>,
}

/// The life that goes on now.
pub struct OwnNode(Mutex<Life>);

impl OwnNode {
    pub fn new(life: Life) -> Self {
        Self(Mutex::new(life))
    }

    pub fn life(&self) -> Life {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn slot(&self) -> i16 {
        self.life().slot
    }

    pub fn epoch(&self) -> i64 {
        self.life().epoch
    }

    pub fn buckets(&self) -> Arc<[i16]> {
        self.life().buckets
    }
}

/// Joins as the only node, which owns everything. Lives before this one are over.
pub fn join_alone(sql: &mut Connection, name: &str) -> Result<Life, Failure> {
    const FORGET: &str = "DELETE FROM relay.nodes";
    const JOIN: &str = "INSERT INTO relay.nodes (slot, epoch, name, version, seen_at, lease)
         VALUES (0, nextval('relay.epochs'), $1, $2, clock_timestamp(), interval '1 day')
         RETURNING epoch";
    const OWN: &str = "INSERT INTO relay.buckets (bucket, epoch)
         SELECT b, n.epoch FROM relay.nodes n,
             generate_series(0, (SELECT buckets FROM relay.about) - 1) b
         ON CONFLICT (bucket) DO UPDATE SET epoch = excluded.epoch
         RETURNING bucket";
    let version = env!("CARGO_PKG_VERSION");
    let answers = sql.transaction(&[(FORGET, &[]), (JOIN, &[&name, &version]), (OWN, &[])])?;
    let epoch = match answers.get(1).and_then(|rows| rows.first()) {
        Some(row) => row.try_get(0)?,
        None => return Err(Failure::unexpected("the node has not joined".to_owned())),
    };
    let buckets = answers.get(2).into_iter().flatten();
    let buckets = buckets.map(|row| row.try_get(0));
    Ok(Life {
        slot: 0,
        epoch,
        buckets: buckets.collect::<Result<_, _>>()?,
    })
}

/// Leaves: nobody is waited for.
pub fn leave(sql: &mut Connection, epoch: i64) -> Result<(), Failure> {
    const LEAVE: &str = "DELETE FROM relay.nodes WHERE epoch = $1";
    sql.execute(LEAVE, &[&epoch]).map(|_| ())
}
