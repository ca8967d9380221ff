//! The ids of destinations, by name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::connection::Connection;
use super::failure::Failure;
use crate::store::types::{BUCKETS, DestinationId, OwnerId};

/// Destinations that are remembered: some 10 MB. Beyond it all are forgotten, and found again.
const MOST_REMEMBERED: usize = 65_536;

/// A destination, as everybody knows it: neither changes while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: DestinationId,
    pub bucket: i16,
}

/// A name, and the API key that it belongs to if it is an ad hoc origin.
pub type Named<'a> = (&'a str, Option<OwnerId>);

/// The bucket of a name: 64 bits of its SHA-256, modulo the number of buckets.
pub fn bucket_of(name: &str) -> i16 {
    let whole = <[u8; 32]>::from(Sha256::digest(name));
    let number = u64::from_be_bytes(*whole.first_chunk().expect("32 bytes hold 8"));
    i16::try_from(number % u64::from(BUCKETS)).expect("a bucket is less than 256")
}

/// The destinations that this process has met.
#[derive(Default)]
pub struct Destinations(Mutex<HashMap<String, Known>>);

impl Destinations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The destination of a name, if it was met.
    pub fn get(&self, name: &str) -> Option<Known> {
        self.lock().get(name).copied()
    }

    /// One of these was not there any more: it has to be looked for anew.
    pub fn forget(&self, names: &[Named<'_>]) {
        let mut known = self.lock();
        for (name, _) in names {
            known.remove(*name);
        }
    }

    /// Meets the destinations of these names, and makes those that are missing.
    pub fn meet(&self, sql: &mut Connection, names: &[Named<'_>]) -> Result<(), Failure> {
        let missing: Vec<Named<'_>> = {
            let known = self.lock();
            let missing = names.iter().filter(|(name, _)| !known.contains_key(*name));
            missing.copied().collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        self.find(sql, &missing)?;
        let missing: Vec<Named<'_>> = {
            let known = self.lock();
            let missing = missing.into_iter();
            missing
                .filter(|(name, _)| !known.contains_key(*name))
                .collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        make(sql, &missing)?;
        self.find(sql, &missing)
    }

    fn find(&self, sql: &mut Connection, named: &[Named<'_>]) -> Result<(), Failure> {
        const FIND: &str = "SELECT name, id, bucket FROM relay.destinations WHERE name = ANY($1)";
        let wanted: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        let rows = sql.rows(FIND, &[&wanted])?;
        let mut known = self.lock();
        if known.len() + rows.len() > MOST_REMEMBERED {
            known.clear();
        }
        for row in rows {
            let found = Known {
                id: row.try_get(1)?,
                bucket: row.try_get(2)?,
            };
            known.insert(row.try_get(0)?, found);
        }
        Ok(())
    }
}

/// Makes destinations, unless they are there. In the order of their names, so that two nodes never
/// wait for each other.
fn make(sql: &mut Connection, missing: &[Named<'_>]) -> Result<(), Failure> {
    const MAKE: &str = "INSERT INTO relay.destinations (name, bucket, owner)
         SELECT * FROM unnest($1::text[], $2::int2[], $3::int8[]) AS t(name, bucket, owner)
         ORDER BY name
         ON CONFLICT (name) DO NOTHING";
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let buckets: Vec<i16> = names.iter().map(|name| bucket_of(name)).collect();
    let owners: Vec<Option<OwnerId>> = missing.iter().map(|(_, owner)| *owner).collect();
    sql.execute(MAKE, &[&names, &buckets, &owners]).map(|_| ())
}
