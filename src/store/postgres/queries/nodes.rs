//! The nodes, as commands and operators see them.

use std::time::Duration;

use tokio_postgres::Row;

use crate::config;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::types::{NodeState, OwnLease};

/// All times are the database's. $1: the life of this process, or none.
const NODES: &str =
    "SELECT n.slot, n.name, n.version, (extract(epoch FROM n.seen_at) * 1000)::int8,
            greatest(0, extract(epoch FROM n.seen_at + n.lease - clock_timestamp()) * 1000)::int8,
            (SELECT count(*) FROM relay.buckets b WHERE b.epoch = n.epoch),
            n.is_leaving, coalesce(n.epoch = $1, false)
     FROM relay.nodes n ORDER BY n.slot";

fn nodes(sql: &mut Connection, own: Option<i64>) -> Result<Vec<NodeState>, Failure> {
    let rows = sql.rows(NODES, &[&own])?;
    rows.iter().map(node).collect()
}

fn node(row: &Row) -> Result<NodeState, Failure> {
    let (slot, left, buckets): (i16, i64, i64) =
        (row.try_get(0)?, row.try_get(4)?, row.try_get(5)?);
    let left = u64::try_from(left).unwrap_or(0);
    Ok(NodeState {
        slot: u8::try_from(slot).unwrap_or(u8::MAX),
        name: row.try_get(1)?,
        version: Some(row.try_get(2)?),
        seen_at: row.try_get(3)?,
        lease_left: Some(Duration::from_millis(left)),
        buckets: u16::try_from(buckets).unwrap_or(u16::MAX),
        is_leaving: row.try_get(6)?,
        is_own: row.try_get(7)?,
    })
}

impl Postgres {
    /// The nodes, by slot.
    pub async fn nodes(&self, _own: &config::Node) -> Result<Vec<NodeState>, StoreError> {
        let own = self.shared().node.epoch();
        self.read_async(move |sql| nodes(sql, Some(own))).await
    }

    /// This node's share and lease.
    pub fn own_lease(&self) -> Option<OwnLease> {
        let node = &self.shared().node;
        Some(OwnLease {
            buckets: node.buckets().len(),
            left: node.lease_left(),
        })
    }
}

impl Operator {
    /// The nodes, by slot.
    pub fn nodes(&self, _own: &config::Node) -> Result<Vec<NodeState>, StoreError> {
        self.read(|sql| nodes(sql, None))
    }
}
