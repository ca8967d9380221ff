//! One batch: recorded with one statement, and answered.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Writer;
use super::earlier::earlier;
use super::insert::{Inserted, Rows};
use super::pending::{Answer, PendingAccept};
use crate::clock::Timestamp;
use crate::model::IntentId;
use crate::stop::Deadline;
use crate::store::error::StoreError;
use crate::store::postgres::destinations::Named;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::keys::{end_of_millisecond, next_row};
use crate::store::postgres::retry::CALL_LIMIT;
use crate::store::postgres::told::tell;
use crate::store::types::{Accepted, DestinationId};

type Batch = Vec<PendingAccept>;

/// How often a batch is sent anew, since a key was free again or a destination gone.
const ROUNDS: usize = 8;

impl Writer {
    /// Records a batch and answers its waiters. An error means that the database can't be trusted.
    pub(super) fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        let batch = self.in_time(batch);
        let (began, now) = (self.shared.clock.monotonic(), self.shared.clock.now());
        let batch = match self.admit(batch, now) {
            Ok(batch) if batch.is_empty() => return Ok(()),
            Ok(batch) => batch,
            Err((batch, failure)) => return self.refuse(batch, failure),
        };
        let size = batch.len();
        self.record(batch, now)?;
        let took = self.shared.clock.monotonic().saturating_sub(began);
        self.shared.metrics.committed(size, took);
        Ok(())
    }

    /// Refuses those that have waited for as long as the server may be silent, as they do behind a
    /// batch that met an outage; the others. The first of them ends the patience of all.
    fn in_time(&mut self, batch: Batch) -> Batch {
        let is_in_time = |one: &PendingAccept| one.waited() < CALL_LIMIT;
        let (batch, late): (Batch, Batch) = batch.into_iter().partition(is_in_time);
        for one in late {
            one.answer(Err(StoreError::Busy));
        }
        let longest = batch.iter().map(PendingAccept::waited).max();
        let left = CALL_LIMIT.saturating_sub(longest.unwrap_or_default());
        self.until = Deadline::within(left);
        batch
    }

    /// Answers those whose API key has too many origins that wait, unless their own key names an
    /// earlier intent; the others.
    fn admit(&mut self, batch: Batch, now: Timestamp) -> Result<Batch, (Batch, Failure)> {
        if batch.iter().all(|one| one.intent.owner.is_none()) {
            return Ok(batch);
        }
        let (admission, shared) = (&mut self.admission, &self.shared);
        let patience = shared.patience(self.until.left());
        let refused = self.link.call(patience, |sql| {
            let mut refused = Vec::new();
            for (at, one) in batch.iter().enumerate() {
                if !admission.admits(&one.intent, now, sql)? {
                    refused.push(at);
                }
            }
            let mut answers = vec![];
            let mut keyed = refused.clone();
            keyed.retain(|&at| batch[at].key.is_some());
            if !keyed.is_empty() {
                answers = earlier(sql, &batch, &keyed, now)?;
            }
            for at in refused {
                if answers.iter().all(|(answered, _)| *answered != at) {
                    answers.push((at, Accepted::TooManyOrigins.into()));
                }
            }
            Ok(answers)
        });
        let mut answers: HashMap<usize, Answer> = match refused {
            Ok(answers) => answers.into_iter().collect(),
            Err(failure) => return Err((batch, failure)),
        };
        let mut admitted = Vec::new();
        for (at, one) in batch.into_iter().enumerate() {
            match answers.remove(&at) {
                None => admitted.push(one),
                Some(answer) => self.answer_one(one, answer),
            }
        }
        Ok(admitted)
    }

    /// Records intents. If one of them is refused, it alone is: the batch is halved until it is
    /// found.
    fn record(&mut self, mut batch: Batch, now: Timestamp) -> Result<(), StoreError> {
        match self.try_record(&mut batch, now) {
            Ok((answers, due)) => {
                self.answer(batch, answers, &due);
                Ok(())
            }
            Err(failure) => match failure.class() {
                Class::Refused | Class::Duplicate if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    self.record(batch, now)?;
                    self.record(second, now)
                }
                _ => self.refuse(batch, failure),
            },
        }
    }

    /// The outcomes, and the destinations for which something is due.
    fn try_record(
        &mut self,
        batch: &mut Batch,
        now: Timestamp,
    ) -> Result<(Vec<Answer>, Vec<DestinationId>), Failure> {
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        let mut due = BTreeSet::new();
        for _ in 0..ROUNDS {
            let left: Vec<usize> = (0..batch.len())
                .filter(|&at| answers[at].is_none())
                .collect();
            if left.is_empty() {
                let answers = answers.into_iter().flatten().collect();
                return Ok((answers, due.into_iter().collect()));
            }
            let sent = first_of_each_key(batch, &left);
            let Some(inserted) = self.insert(batch, &sent, now)? else {
                continue;
            };
            let fresh: HashSet<i64> = inserted.fresh.into_iter().collect();
            for &at in &sent {
                let id = batch[at].id.filter(|id| fresh.contains(&id.row()));
                let Some(id) = id else { continue };
                answers[at] = Some(Accepted::New(id, now).into());
                due.extend(self.own_destinations(&batch[at]));
            }
            let taken = left.into_iter().filter(|&at| answers[at].is_none());
            let taken: Vec<usize> = taken.collect();
            if taken.is_empty() {
                continue;
            }
            let patience = self.shared.patience(self.until.left());
            let found = self
                .link
                .call(patience, |sql| earlier(sql, batch, &taken, now))?;
            for (at, answer) in found {
                if matches!(answer.accepted, Accepted::New(..)) {
                    due.extend(self.own_destinations(&batch[at]));
                }
                answers[at] = Some(answer);
            }
        }
        Err(Failure::unexpected(
            "keys were taken and freed again and again".to_owned(),
        ))
    }

    /// Sends those of a batch that have these indexes. None: they have to be sent anew.
    fn insert(
        &mut self,
        batch: &mut Batch,
        sent: &[usize],
        now: Timestamp,
    ) -> Result<Option<Inserted>, Failure> {
        for &at in sent {
            if batch[at].id.is_none() {
                batch[at].id = Some(self.next_id(now));
            }
        }
        let shared = &*self.shared;
        let patience = shared.patience(self.until.left());
        let named = names(batch, sent);
        self.link
            .call(patience, |sql| shared.destinations.meet(sql, &named))?;
        let mut rows = Rows::new(now);
        for &at in sent {
            rows.add(&batch[at], |name| shared.destinations.get(name));
        }
        let mut is_again = false;
        let inserted = self.link.call(patience, |sql| {
            rows.insert(sql, std::mem::replace(&mut is_again, true))
        });
        match inserted {
            Ok(inserted) if inserted.has_destinations => {
                self.came(&named, now);
                self.tell_owners(&named);
                Ok(Some(inserted))
            }
            Ok(_) => {
                shared.destinations.forget(&named);
                Ok(None)
            }
            // An id is taken: by this batch, whose commit was not known, or by somebody else.
            Err(failure) if failure.class() == Class::Duplicate => {
                let committed = self.link.call(patience, |sql| rows.committed(sql))?;
                if committed.is_none() {
                    // Another life of the slot assigned ids of this millisecond, and seldom one.
                    self.last_row = end_of_millisecond(self.last_row);
                    for &at in sent {
                        batch[at].id = None;
                    }
                } else {
                    self.came(&named, now);
                    self.tell_owners(&named);
                }
                Ok(committed)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Notifies the other nodes of what waits for their destinations now. One that hears nothing
    /// looks by itself.
    fn tell_owners(&mut self, named: &[Named<'_>]) {
        let others = self.shared.of_others(named);
        let patience = self.shared.patience(std::time::Duration::ZERO);
        let _ = self.link.call(patience, |sql| tell(sql, &others));
    }

    fn next_id(&mut self, now: Timestamp) -> IntentId {
        let slot = self.shared.node.slot();
        self.last_row = next_row(self.last_row, now.as_millis(), slot);
        IntentId::new(self.last_row, rand::random())
    }

    /// The destinations of an intent that this node delivers to.
    fn own_destinations(&self, pending: &PendingAccept) -> Vec<DestinationId> {
        let own = self.shared.node.buckets();
        let names = pending.intent.destinations.iter();
        let known = names.filter_map(|name| self.shared.destinations.get(name));
        known
            .filter(|known| own.contains(&known.bucket))
            .map(|known| known.id)
            .collect()
    }

    /// Answers a batch that is durable.
    fn answer(&self, batch: Batch, answers: Vec<Answer>, due: &[DestinationId]) {
        if self.shared.health.accepting() {
            log::info!("writes are being accepted again");
        }
        for (one, answer) in batch.into_iter().zip(answers) {
            self.answer_one(one, answer);
        }
        if !due.is_empty() {
            (self.shared.on_work)(due);
        }
    }

    fn answer_one(&self, one: PendingAccept, answer: Answer) {
        one.intent
            .count_outcome(&answer.accepted, &self.shared.metrics);
        one.answer(Ok(answer));
    }

    /// Refuses a batch.
    fn refuse(&mut self, batch: Batch, failure: Failure) -> Result<(), StoreError> {
        if failure.ends_connection() {
            let all: Vec<usize> = (0..batch.len()).collect();
            self.may_come_late(&names(&batch, &all));
        }
        let error = StoreError::from(failure);
        if error.fails_whole_batch() {
            // First, so that a refused client finds the store unready.
            if self.shared.health.refusing(&error) && !error.is_fatal() {
                log::warn!(error:% = error; "writes are being refused");
            }
        }
        for one in batch {
            one.answer(Err(error.share()));
        }
        if error.is_fatal() {
            return Err(error);
        }
        Ok(())
    }
}

/// Of those with the same key the first one: a statement can't meet a key twice.
fn first_of_each_key(batch: &Batch, left: &[usize]) -> Vec<usize> {
    let mut keys = HashSet::new();
    let is_first = |at: &usize| batch[*at].key.is_none_or(|key| keys.insert(key));
    left.iter().copied().filter(is_first).collect()
}

/// The destinations of these, each once.
fn names<'a>(batch: &'a Batch, sent: &[usize]) -> Vec<Named<'a>> {
    let all = sent.iter().flat_map(|&at| {
        let intent = &batch[at].intent;
        let owner = intent.owner.map(|owner| owner.id);
        let names = intent.destinations.iter();
        names.map(move |name| (name.as_str(), owner))
    });
    let mut met = HashSet::new();
    all.filter(|(name, _)| met.insert(*name)).collect()
}
