//! Decides what to do with the selected deliveries and events. Asks the configuration, and so reads
//! bodies: on a reader, never in the writer's transaction.

use rusqlite::{Connection, params};

use crate::model::OrderKey;
use crate::store::error::StoreError;
use crate::store::sqlite::limits::MAX_HISTORY;
use crate::store::sqlite::ops::act::{Act, Does, rows_of};
use crate::store::sqlite::queries::{Selected, Selection, destination_id, load_message};
use crate::store::types::{BulkAction, IntentRow, OutboundMessage, Routing};

/// The acts that one selected delivery or event asks for.
#[derive(Debug, Default)]
pub struct Decision {
    pub acts: Vec<Act>,
    /// Events that should be sent, and have no payload.
    pub payload_gone: i64,
    /// Bytes that were read.
    pub bytes: usize,
}

impl Decision {
    pub fn rows(&self) -> usize {
        self.acts.iter().map(|act| act.rows).sum()
    }
}

/// Decides on selected deliveries and events.
pub struct Decider<'a> {
    pub sql: &'a Connection,
    pub routing: &'a dyn Routing,
    pub selection: &'a Selection,
    /// The name of the selection's target.
    pub target: Option<&'a str>,
    /// Whether an attempt under way is alive: false if no server runs.
    pub has_attempts: bool,
}

impl Decider<'_> {
    /// The acts for one that is not skipped.
    pub fn decide(&self, selected: &Selected) -> Result<Decision, StoreError> {
        let action = self.selection.action;
        let (Selected { intent, .. }, mut decision) = (selected, Decision::default());
        let rows = rows_of(action, selected.history, selected.bytes);
        let act = |does| Act {
            intent: *intent,
            does,
            rows,
        };
        match (action, self.target, selected.destination) {
            (BulkAction::Route, ..) => {
                let message = load_message(self.sql, *intent)?;
                if message.gone.is_some() {
                    // Its routes can't be known, either.
                    decision.payload_gone = 1;
                    return Ok(decision);
                }
                decision.bytes = message.headers.len() + message.body.len();
                for name in self.missing(selected, &message)? {
                    let key = self.routing.order_key(&name, &message);
                    decision.acts.push(act(Does::Create { to: name, key }));
                }
            }
            (BulkAction::Erase, ..) => decision.acts.push(Act {
                rows: rows + self.rows_of_deliveries(*intent)?,
                ..act(Does::Erase {
                    waits: self.has_attempts,
                })
            }),
            (BulkAction::SendTo, Some(name), _) => {
                let (key, bytes) = self.order_key(selected, name)?;
                decision.bytes = bytes;
                let to = name.to_owned();
                decision.acts.push(act(Does::Create { to, key }));
            }
            (BulkAction::Reroute, Some(name), Some(from)) => {
                let (key, bytes) = self.order_key(selected, name)?;
                decision.bytes = bytes;
                let to = name.to_owned();
                decision.acts.push(act(Does::Move { from, to, key }));
            }
            (_, _, Some(destination)) => decision.acts.push(act(Does::Change {
                action,
                destination,
                state: selected.state,
                updated_at: selected.updated_at,
                key: selected.line,
            })),
            _ => {}
        }
        Ok(decision)
    }

    /// Rows that erasing the deliveries of an event writes at most.
    fn rows_of_deliveries(&self, intent: IntentRow) -> Result<usize, StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT coalesce(sum(2 + min(history, ?2)), 0) FROM deliveries WHERE intent_id = ?1",
        )?;
        let rows: u32 = statement.query_row(params![intent, MAX_HISTORY], |row| row.get(0))?;
        Ok(rows as usize)
    }

    /// The destinations that today's routes want, and that the event has no delivery for.
    fn missing(
        &self,
        selected: &Selected,
        message: &OutboundMessage,
    ) -> Result<Vec<String>, StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2",
        )?;
        let mut missing: Vec<String> = Vec::new();
        for name in self.routing.route(message).iter() {
            let is_there = match destination_id(self.sql, name)? {
                Some(id) => statement.exists((selected.intent, id))?,
                None => false,
            };
            if !is_there && !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        Ok(missing)
    }

    /// The line in which an event stands at a destination, and the bytes that were read for it. The
    /// body is not read if nothing there has an order.
    fn order_key(
        &self,
        selected: &Selected,
        destination: &str,
    ) -> Result<(Option<OrderKey>, usize), StoreError> {
        if !self.routing.has_order(destination) {
            return Ok((None, 0));
        }
        let message = load_message(self.sql, selected.intent)?;
        let bytes = message.headers.len() + message.body.len();
        Ok((self.routing.order_key(destination, &message), bytes))
    }
}
