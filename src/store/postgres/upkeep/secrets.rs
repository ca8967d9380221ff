//! Learns, expects and forgets secrets of sources.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::error::StoreError;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::retry::once;
use crate::store::postgres::text::Text;
use crate::store::types::{ExpectOutcome, LearnedSecretId, MAX_LEARNED_SECRETS};

/// Meets the expectation and keeps the secret, or neither. The token tells, when the answer was
/// lost, that the expectation was met by this secret.
const LEARN: &str = "
    WITH met AS MATERIALIZED (
        DELETE FROM relay.expected_secrets WHERE source = $1 AND until > $2 RETURNING source
    ), learned AS (
        INSERT INTO relay.learned_secrets (source, secret, learned_at)
        SELECT source, $3, $2 FROM met ON CONFLICT (source, secret) DO NOTHING
    ), noted AS (
        INSERT INTO relay.made (token, at) SELECT $4, $2 FROM met
    )
    SELECT EXISTS (SELECT 1 FROM met)
        OR EXISTS (SELECT 1 FROM relay.made WHERE token = $4)";

/// Expectations that nothing met stay until the next command.
const EXPECT: &str = "
    WITH known AS MATERIALIZED (
        SELECT count(*) AS count FROM relay.learned_secrets WHERE source = $1
    ), old AS (
        DELETE FROM relay.expected_secrets WHERE until <= $3 AND source <> $1
    ), put AS (
        INSERT INTO relay.expected_secrets (source, until)
        SELECT $1, $2 FROM known WHERE count < $4 AND (count = 0 OR $5)
        ON CONFLICT (source) DO UPDATE SET until = excluded.until
    )
    SELECT count FROM known";

const FORGET_ALL: &str = "
    WITH e AS (DELETE FROM relay.expected_secrets WHERE source = $1 RETURNING 1),
         l AS (DELETE FROM relay.learned_secrets WHERE source = $1 RETURNING 1)
    SELECT (SELECT count(*) FROM e) + (SELECT count(*) FROM l)";

const FORGET: &str = "
    WITH l AS (DELETE FROM relay.learned_secrets WHERE source = $1 AND id = ANY($2) RETURNING 1)
    SELECT count(*) FROM l";

/// All nodes verify by what is learned: a bucket of each counts up, and each is notified.
const TELL: &str = "
    WITH meant AS MATERIALIZED (
        SELECT bucket FROM relay.buckets
        WHERE bucket IN (SELECT min(bucket) FROM relay.buckets WHERE epoch IS NOT NULL
                         GROUP BY epoch)
        ORDER BY bucket FOR NO KEY UPDATE
    ), poked AS (
        UPDATE relay.buckets b SET poked = b.poked + 1 FROM meant m WHERE b.bucket = m.bucket
        RETURNING b.epoch
    )
    SELECT pg_notify('relay', string_agg(DISTINCT n.slot::text, ' '))
    FROM poked p JOIN relay.nodes n ON n.epoch = p.epoch HAVING count(*) > 0";

/// Makes a change that all nodes are told of; its first row.
fn tell(
    connection: &mut Connection,
    sql: &'static str,
    params: &[Param<'_>],
) -> Result<Row, Failure> {
    let made = connection.transaction(&[(sql, params), (TELL, &[])])?;
    let first = made
        .into_iter()
        .next()
        .and_then(|rows| rows.into_iter().next());
    first.ok_or_else(|| Failure::unexpected("a change of secrets had no row".to_owned()))
}

fn count(
    connection: &mut Connection,
    sql: &'static str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<usize, Failure> {
    of_row(&connection.one(sql, params)?)
}

fn of_row(row: &Row) -> Result<usize, Failure> {
    let count: i64 = row.try_get(0)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

impl Postgres {
    /// Learns a secret that a handshake brought, if the source expects one now; resolves once that
    /// is durable. Whether it was learned: the source expects none afterwards.
    pub async fn learn_secret(&self, source: &str, secret: Secret) -> Result<bool, StoreError> {
        let (source, now) = (source.to_owned(), self.shared().clock.now());
        let token = Uuid::new_v4();
        self.run_blocking(move |store| {
            let text = Text::from(secret.reveal());
            store.change(|connection| {
                let learned = tell(connection, LEARN, &[&source, &now, &text, &token])?;
                Ok(learned.try_get(0)?)
            })
        })
        .await
    }
}

impl Operator {
    /// Makes a source expect that a handshake brings a secret, until this time. `is_addition` if
    /// the source keeps the secrets that it has learned; otherwise it must have none.
    pub fn expect_secret(
        &mut self,
        source: &str,
        until: Timestamp,
        is_addition: bool,
    ) -> Result<ExpectOutcome, StoreError> {
        let now = self.now();
        let most = i64::try_from(MAX_LEARNED_SECRETS).unwrap_or(i64::MAX);
        let known = self.change(|connection| {
            count(
                connection,
                EXPECT,
                &[&source, &until, &now, &most, &is_addition],
            )
        })?;
        Ok(match known {
            known if known >= MAX_LEARNED_SECRETS => ExpectOutcome::HasMost,
            known if known > 0 && !is_addition => ExpectOutcome::HasSecrets(known),
            _ => ExpectOutcome::Until(until),
        })
    }

    /// Forgets learned secrets of a source: these, or all and its expectation. Returns how many of
    /// them there were.
    pub fn forget_secrets(
        &mut self,
        source: &str,
        ids: Option<Vec<LearnedSecretId>>,
    ) -> Result<usize, StoreError> {
        let forgetting = |connection: &mut Connection| match &ids {
            Some(ids) => of_row(&tell(connection, FORGET, &[&source, ids])?),
            None => of_row(&tell(connection, FORGET_ALL, &[&source])?),
        };
        self.change(once(forgetting, |forgotten| *forgotten > 0))
    }
}
