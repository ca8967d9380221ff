//! Creates bulk operations.

use rusqlite::params;

use crate::store::bulk::{Selection, selection_of};
use crate::store::error::StoreError;
use crate::store::row_budget::RowBudget;
use crate::store::sqlite::columns::ids_to_store;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{BulkId, BulkPart, NewBulk};

/// Rows besides those of the operations: the first of them is written twice, and a target that
/// nothing was ever sent to gets a row.
const OTHER_ROWS: usize = 2;

/// Creates an operation for each of these destinations. Their deliveries are counted before: that
/// may take long, and nobody must wait for it.
pub struct CreateBulk {
    new: NewBulk,
    parts: Vec<BulkPart>,
    /// Parts that are durable, or whose destination had been deleted by then.
    done: usize,
    /// `done` once the step under way is durable.
    next: usize,
    /// The operations that were created, or those that the nonce named before.
    pub created: Vec<BulkId>,
}

impl CreateBulk {
    pub fn new(new: NewBulk, parts: Vec<BulkPart>) -> Self {
        Self {
            new,
            parts,
            done: 0,
            next: 0,
            created: Vec::new(),
        }
    }
}

impl LongWrite for CreateBulk {
    type Step = CreateBulkStep;

    fn next_step(&mut self, rows: usize) -> Option<CreateBulkStep> {
        let rest = &self.parts[self.done..];
        let count = RowBudget::of(rows.saturating_sub(OTHER_ROWS)).spend_on(rest, |_| 1);
        self.next = self.done + count;
        (count > 0).then(|| CreateBulkStep {
            new: self.new.clone(),
            first: self.created.first().copied(),
            parts: rest[..count].to_vec(),
        })
    }

    fn committed(&mut self, created: Created) {
        match created {
            Created::New(ids) => {
                self.created.extend(ids);
                self.done = self.next;
            }
            Created::Before(ids) => {
                self.created = ids;
                self.done = self.parts.len();
            }
        }
    }
}

/// One transaction's share of a [`CreateBulk`].
pub struct CreateBulkStep {
    new: NewBulk,
    /// The first of the operations that belong together.
    first: Option<BulkId>,
    parts: Vec<BulkPart>,
}

/// The operations that a step created.
pub enum Created {
    New(Vec<BulkId>),
    /// Another request with this nonce has created these.
    Before(Vec<BulkId>),
}

impl CreateBulkStep {
    /// The operations that the nonce names already.
    fn earlier(&self, tx: &Tx<'_>) -> Result<Vec<BulkId>, StoreError> {
        let (None, Some(nonce)) = (self.first, &self.new.nonce) else {
            return Ok(Vec::new());
        };
        tx.rows(
            "SELECT j.id FROM jobs j JOIN jobs f ON j.operation = f.id
             WHERE f.nonce = ?1 ORDER BY j.id",
            [nonce],
            |row| row.get(0),
        )
    }

    /// Inserts an operation. None if its destination, an ad hoc origin, was deleted since it was
    /// counted.
    fn insert(
        &self,
        tx: &Tx<'_>,
        selection: &Selection,
        part: &BulkPart,
        first: Option<BulkId>,
    ) -> Result<Option<BulkId>, StoreError> {
        let (new, start) = (&self.new, selection.start());
        let inserted = tx.execute(
            "INSERT INTO jobs (operation, kind, destination_id, target_id, states, source,
                               event_type, reason, since, until, total, cursor_at,
                               cursor_intent, cursor_more, nonce, actor, created_at, ids, ended_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                    ?18, ?19
             WHERE ?3 IS NULL OR EXISTS (SELECT 1 FROM destinations WHERE id = ?3)",
            params![
                first,
                new.action as i64,
                selection.destination,
                selection.target,
                selection.states.0,
                selection.source,
                selection.event_type,
                selection.reason,
                selection.since,
                selection.until,
                part.total,
                start.at,
                start.intent,
                start.more,
                new.nonce.as_ref().filter(|_| first.is_none()),
                new.actor,
                tx.now,
                ids_to_store(&new.filter.ids),
                part.is_empty.then_some(tx.now),
            ],
        )?;
        if inserted == 0 {
            return Ok(None);
        }
        let id = BulkId(tx.sql.last_insert_rowid());
        if first.is_none() {
            tx.execute("UPDATE jobs SET operation = id WHERE id = ?1", [id])?;
        }
        Ok(Some(id))
    }
}

impl WriteOp for CreateBulkStep {
    type Out = Created;

    fn apply(&self, tx: &Tx<'_>) -> Result<Created, StoreError> {
        let earlier = self.earlier(tx)?;
        if !earlier.is_empty() {
            return Ok(Created::Before(earlier));
        }
        let target = self.new.target.as_deref();
        let target = target.map(|name| tx.destination(name, None)).transpose()?;
        let (mut created, mut first) = (Vec::new(), self.first);
        for part in &self.parts {
            let selection = selection_of(&self.new, part.destination, target, tx.now);
            let id = self.insert(tx, &selection, part, first)?;
            first = first.or(id);
            created.extend(id);
        }
        Ok(Created::New(created))
    }

    fn rows(&self) -> usize {
        OTHER_ROWS + self.parts.len()
    }
}
