//! The secrets that handshakes brought: stored, and in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use crate::config::Secret;
use crate::store::{Store, StoreError};

const NO_PANIC: &str = "nobody panics while holding this lock";

/// The learned secrets in use. Every configuration that runs, one after the other, shares them: a
/// secret that is learned during a reload is in use after it.
#[derive(Default)]
pub(crate) struct LearnedSecrets {
    /// By source. A command bounds the number of a source's.
    in_use: RwLock<HashMap<String, Arc<[Secret]>>>,
    /// Held while stored secrets are read and put to use: an older state never replaces a newer
    /// one.
    turn: Mutex<()>,
}

impl LearnedSecrets {
    /// The secrets of a source; none if it has learned none.
    pub(super) fn of(&self, source: &str) -> Option<Arc<[Secret]>> {
        self.in_use.read().expect(NO_PANIC).get(source).cloned()
    }

    /// Puts the stored secrets to use. Blocks.
    pub fn load(&self, store: &Store) -> Result<(), StoreError> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        let mut secrets: HashMap<String, Vec<Secret>> = HashMap::new();
        for learned in store.reader().learned_secrets()? {
            let of_source = secrets.entry(learned.source).or_default();
            of_source.push(learned.secret);
        }
        let secrets = secrets.into_iter().map(|(name, all)| (name, all.into()));
        *self.in_use.write().expect(NO_PANIC) = secrets.collect();
        Ok(())
    }

    /// Puts the stored secrets to use: a command may have changed them.
    pub async fn refresh(self: Arc<Self>, store: Store) {
        let load = tokio::task::spawn_blocking(move || self.load(&store));
        // Those in use stay, and the next change of a command tries again.
        if let Ok(Err(error)) = load.await {
            log::warn!(error:% = error; "learned secrets can't be read");
        }
    }

    /// Learns a secret, if the source expects one now. Whether it was learned: then the requests
    /// that it signs are verified from now on.
    pub(in crate::http) async fn learn(
        self: &Arc<Self>,
        store: &Store,
        source: &str,
        secret: &Secret,
    ) -> Result<bool, StoreError> {
        let (this, store) = (Arc::clone(self), store.clone());
        let (source, secret) = (source.to_owned(), secret.clone());
        // A task of its own, so that a stored secret is put to use although its request is given
        // up.
        let learning = tokio::spawn(async move {
            if !store.learn_secret(&source, secret).await? {
                return Ok(false);
            }
            let load = tokio::task::spawn_blocking(move || this.load(&store));
            load.await.unwrap_or_else(|panic| Err(unexpected(&panic)))?;
            Ok(true)
        });
        learning
            .await
            .unwrap_or_else(|panic| Err(unexpected(&panic)))
    }
}

fn unexpected(panic: &tokio::task::JoinError) -> StoreError {
    StoreError::Unexpected(format!("learning a secret panicked: {panic}"))
}
