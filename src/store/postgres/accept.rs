//! Records intents: hands them to the writer, which writes many with one statement.

use std::sync::atomic::Ordering;
use std::sync::mpsc::TrySendError;

use tokio::sync::oneshot;

use crate::store::accepting::digest_of;
use crate::store::error::StoreError;
use crate::store::limits::QUEUE;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::writer::{Answer, Command, PendingAccept};
use crate::store::types::{Accept, Accepted, PayloadDigest};

impl Postgres {
    /// Records an intent; resolves once it is durable.
    pub async fn accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        if self.shared().budget.is_spent() {
            return Err(StoreError::BudgetSpent);
        }
        let digest = digest_of(&intent).await?;
        let receiver = self.send(intent, digest)?;
        let answer = receiver.await.unwrap_or(Err(StoreError::Stopped))?;
        if !answer.wants_replay {
            return Ok(answer.accepted);
        }
        self.run_blocking(move |store| store.replay_for(answer))
            .await
    }

    /// Sends an intent to the writer. Refused at once when [`QUEUE`] of them wait.
    fn send(
        &self,
        intent: Accept,
        digest: PayloadDigest,
    ) -> Result<oneshot::Receiver<Result<Answer, StoreError>>, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        let queued = &self.shared().queued;
        if queued.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            queued.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let pending = PendingAccept::new(intent, digest, &self.shared().erased_keys, waiter);
        let sent = self.queue().try_send(Command::Accept(Box::new(pending)));
        sent.map(|()| answer).map_err(|error| {
            queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Stopped,
            }
        })
    }

    /// A sender has sent an event again whose deliveries are all dead-lettered: replays them.
    fn replay_for(&self, answer: Answer) -> Result<Accepted, StoreError> {
        let Accepted::Duplicate(mut duplicate) = answer.accepted else {
            return Ok(answer.accepted);
        };
        duplicate.replayed = self.replay(duplicate.id)?;
        Ok(Accepted::Duplicate(duplicate))
    }
}

#[cfg(test)]
impl Postgres {
    /// Records an intent. Blocks.
    pub fn accept_blocking(&self, intent: Accept) -> Result<Accepted, StoreError> {
        crate::stop::block_on(self.accept(intent))
    }
}
