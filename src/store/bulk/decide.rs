//! Decides what to do with the selected deliveries and events. Asks the configuration, and so reads
//! bodies: on a reader, never in the writer's transaction.

use crate::model::OrderKey;
use crate::store::bulk::act::{Act, Does, rows_of};
use crate::store::bulk::reads::BulkReads;
use crate::store::bulk::selection::{Selected, Selection};
use crate::store::types::{BulkAction, OutboundMessage, Routing};

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
    pub routing: &'a dyn Routing,
    pub selection: &'a Selection,
    /// The name of the selection's target.
    pub target: Option<&'a str>,
    /// Whether an attempt under way is alive: false if no server runs.
    pub has_attempts: bool,
}

impl Decider<'_> {
    /// The acts for one that is not skipped.
    pub fn decide<R: BulkReads>(
        &self,
        reads: &mut R,
        selected: &Selected,
    ) -> Result<Decision, R::Error> {
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
                let Some(message) = reads.message(*intent)? else {
                    return Ok(decision);
                };
                if message.gone.is_some() {
                    // Its routes can't be known, either.
                    decision.payload_gone = 1;
                    return Ok(decision);
                }
                decision.bytes = message.headers.len() + message.body.len();
                for name in self.missing(reads, selected, &message)? {
                    let key = self.routing.order_key(&name, &message);
                    decision.acts.push(act(Does::Create { to: name, key }));
                }
            }
            (BulkAction::Erase, ..) => decision.acts.push(Act {
                rows: rows + reads.delivery_rows(*intent)?,
                ..act(Does::Erase {
                    waits: self.has_attempts,
                })
            }),
            (BulkAction::SendTo, Some(name), _) => {
                let (key, bytes) = self.order_key(reads, selected, name)?;
                decision.bytes = bytes;
                let to = name.to_owned();
                decision.acts.push(act(Does::Create { to, key }));
            }
            (BulkAction::Reroute, Some(name), Some(from)) => {
                let (key, bytes) = self.order_key(reads, selected, name)?;
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

    /// The destinations that today's routes want, and that the event has no delivery for.
    fn missing<R: BulkReads>(
        &self,
        reads: &mut R,
        selected: &Selected,
        message: &OutboundMessage,
    ) -> Result<Vec<String>, R::Error> {
        let mut missing: Vec<String> = Vec::new();
        for name in self.routing.route(message).iter() {
            let is_there = match reads.destination_id(name)? {
                Some(id) => reads.has_delivery(selected.intent, id)?,
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
    fn order_key<R: BulkReads>(
        &self,
        reads: &mut R,
        selected: &Selected,
        destination: &str,
    ) -> Result<(Option<OrderKey>, usize), R::Error> {
        if !self.routing.has_order(destination) {
            return Ok((None, 0));
        }
        let Some(message) = reads.message(selected.intent)? else {
            return Ok((None, 0));
        };
        let bytes = message.headers.len() + message.body.len();
        Ok((self.routing.order_key(destination, &message), bytes))
    }
}
