//! Obtains the certificate of the public listener, and renews it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, Error, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::acme::advice::Advice;
use crate::acme::client::{HttpsClient, is_account_unknown, is_rate_limited};
use crate::acme::files::{ACCOUNT, CERTIFICATE, STATE, StateDirectory};
use crate::acme::issue::issue;
use crate::acme::schedule::{Failure, Tries, is_in_time};
use crate::clock::{Clock, Timestamp};
use crate::config::Acme;
use crate::http::{Identity, ListenerTls};
use crate::ops::notices::Validity;
use crate::stop::{Ending, Stop};
use crate::tls::{Authorities, client_config};

/// The time for a whole try: fifteen requests, and the authority's checks.
const TRY_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest sleep: the system's clock, by which certificates are valid, may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The parts that an agent works with.
pub(crate) struct AcmeParts {
    pub settings: Acme,
    pub listener: ListenerTls,
    pub clock: Arc<dyn Clock>,
    /// Tells of a certificate that is in use from now on.
    pub shown: Box<dyn Fn(&Identity) + Send>,
}

/// Obtains and renews a certificate.
pub(crate) struct AcmeAgent {
    pub(super) parts: AcmeParts,
    directory: StateDirectory,
    pub(super) state: State,
    client: HttpsClient,
}

/// The state on disk: the tries, and the order that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    directory_url: String,
    domains: Vec<String>,
    tries: Tries,
    /// Whether the stored certificate is for this order.
    pub(super) is_obtained: bool,
    /// The authority's advice on a certificate, most often the one in use.
    #[serde(default)]
    pub(super) advice: Option<Advice>,
}

impl State {
    /// Tries since the last certificate that brought none.
    pub(super) fn failures(&self) -> u32 {
        self.tries.failures()
    }
}

impl AcmeAgent {
    /// For the database at this path. An error names a key, a file and the problem.
    pub fn new(parts: AcmeParts, database: &Path) -> Result<Self, String> {
        let directory = StateDirectory::of(database);
        let in_directory = |error: io::Error| format!("{}: {error}", directory.path().display());
        directory.make().map_err(in_directory)?;
        let stored = directory.read(STATE).map_err(in_directory)?;
        let stored: Option<State> = stored.and_then(|text| serde_json::from_str(&text).ok());
        let settings = &parts.settings;
        let is_for_this = |state: &State| {
            state.directory_url == settings.directory_url && state.domains == settings.domains
        };
        let state = stored.filter(is_for_this).unwrap_or_else(|| State {
            directory_url: settings.directory_url.clone(),
            domains: settings.domains.clone(),
            ..State::default()
        });
        let path = settings.ca_file.as_deref();
        let authorities = path.map_or(Authorities::Public, Authorities::File);
        let tls = client_config(&authorities)
            .map_err(|problem| format!("server.acme.ca_file: {problem}"))?;
        Ok(Self {
            client: HttpsClient::new(tls),
            parts,
            directory,
            state,
        })
    }

    /// Makes a try, if one is due, or asks the authority. Returns how long to wait for the next
    /// look.
    pub async fn step(&mut self) -> Duration {
        let now = self.parts.clock.wall();
        let wait = self.wait(now);
        if !wait.is_zero() {
            let wait_to_ask = self.wait_to_ask(now).unwrap_or(LOOK_EVERY);
            if wait_to_ask.is_zero() {
                self.ask(now).await;
            }
            // Zero after a question: its answer may make a try due.
            return wait.min(wait_to_ask).min(LOOK_EVERY);
        }
        self.state.tries.begin(now);
        let ended = match self.save() {
            // Without a note of the try, a crash in it would make another one at once.
            Err(problem) => Err((Failure::Ordinary, problem)),
            Ok(()) => match tokio::time::timeout(TRY_TIMEOUT, self.obtain()).await {
                Ok(ended) => ended,
                Err(_) => Err((Failure::Ordinary, "no end within 5 minutes".to_owned())),
            },
        };
        match ended {
            Ok(()) => self.state.tries.succeed(),
            Err((failure, problem)) => {
                self.state.tries.fail(failure);
                self.warn(&problem);
            }
        }
        self.save_or_warn();
        Duration::ZERO
    }

    /// How long to wait for the next try.
    fn wait(&self, now: Timestamp) -> Duration {
        let tries = &self.state.tries;
        tries.wait(self.certificate(), self.advised(), now)
    }

    /// The dates of the certificate in use, if it is for these names.
    fn certificate(&self) -> Option<Validity> {
        let identity = self
            .parts
            .listener
            .identity()
            .filter(|_| self.state.is_obtained)?;
        Some(Validity::from(&identity.facts))
    }

    async fn obtain(&mut self) -> Result<(), (Failure, String)> {
        let account = self.account().await?;
        let domains = &self.parts.settings.domains;
        let issued = issue(&account, domains, &self.parts.listener, self.identifier()).await;
        let pem = issued.map_err(|error| self.classified(&error))?;
        let in_files = |error: io::Error| (Failure::Ordinary, error.to_string());
        self.directory.write(CERTIFICATE, &pem).map_err(in_files)?;
        let pair = self.directory.certificate();
        let pair = pair.map_err(|problem| (Failure::Ordinary, problem))?;
        let identity = pair.and_then(Identity::new);
        let identity = identity.ok_or_else(|| {
            let problem = "the authority sent a certificate that can't be read";
            (Failure::Ordinary, problem.to_owned())
        })?;
        self.state.is_obtained = true;
        let validity = Validity::from(&identity.facts);
        (self.parts.shown)(&identity);
        self.parts.listener.replace(identity);
        let now = self.parts.clock.wall();
        if is_in_time(validity, now) {
            return Ok(());
        }
        Err((
            Failure::OutOfTime,
            format!(
                "the new certificate is valid from {} to {}, and it is {now}: is the system's \
                 clock right?",
                validity.not_before, validity.not_after
            ),
        ))
    }

    /// The account at the authority, which is made when there is none yet.
    pub(super) async fn account(&self) -> Result<Account, (Failure, String)> {
        let in_files = |error: io::Error| (Failure::Ordinary, error.to_string());
        let stored = self.directory.read(ACCOUNT).map_err(in_files)?;
        let stored = stored.and_then(|text| serde_json::from_str::<StoredAccount>(&text).ok());
        let url = &self.parts.settings.directory_url;
        let builder = || Account::builder_with_http(Box::new(self.client.clone()));
        if let Some(stored) = stored.filter(|stored| stored.directory_url == *url) {
            let restored = builder().from_credentials(stored.credentials).await;
            return restored.map_err(|error| self.classified(&error));
        }
        let contact = self
            .parts
            .settings
            .email
            .as_ref()
            .map(|email| format!("mailto:{email}"));
        let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
        let wanted = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: self.parts.settings.accept_terms,
            only_return_existing: false,
        };
        let made = builder().create(&wanted, url.clone(), None).await;
        let (account, credentials) = made.map_err(|error| self.classified(&error))?;
        let stored = StoredAccount {
            directory_url: url.clone(),
            credentials,
        };
        let text = serde_json::to_string(&stored).expect("texts and bytes become JSON");
        self.directory.write(ACCOUNT, &text).map_err(in_files)?;
        Ok(account)
    }

    /// An error of the authority or on the way there. An account that is no longer known is
    /// forgotten, so that the next try makes another one.
    pub(super) fn classified(&self, error: &Error) -> (Failure, String) {
        if is_account_unknown(error)
            && let Err(error) = self.directory.remove(ACCOUNT)
        {
            log::warn!(error:%; "an ACME account can't be forgotten");
        }
        let failure = if is_rate_limited(error) {
            Failure::Limited(self.client.retry_after(self.parts.clock.wall()))
        } else {
            Failure::Ordinary
        };
        (failure, error.to_string())
    }

    fn warn(&self, problem: &str) {
        let now = self.parts.clock.wall();
        let wait = self.wait(now);
        let in_use = self.parts.listener.identity();
        let expires = in_use.map(|identity| identity.facts.not_after.to_string());
        log::warn!(
            error = problem, failures = self.state.tries.failures(), next_try_s = wait.as_secs(),
            expires = expires.as_deref();
            "no certificate could be obtained"
        );
    }

    fn save(&self) -> Result<(), String> {
        let text = serde_json::to_string(&self.state).expect("texts and numbers become JSON");
        let written = self.directory.write(STATE, &text);
        written.map_err(|error| format!("{}: {error}", self.directory.path().display()))
    }

    pub(super) fn save_or_warn(&self) {
        if let Err(problem) = self.save() {
            log::warn!(error = problem.as_str(); "the state of server.acme can't be written");
        }
    }

    async fn run(&mut self, stop: &Stop) {
        let jumped = Arc::new(Notify::new());
        let on_jump = Arc::clone(&jumped);
        let call = move || on_jump.notify_one();
        self.parts.clock.on_jump(Box::new(call));
        loop {
            let wait = tokio::select! {
                _ = stop.asked() => return,
                wait = self.step() => wait,
            };
            tokio::select! {
                _ = stop.asked() => return,
                () = jumped.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// An account's credentials, and the authority that they are for.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    directory_url: String,
    credentials: AccountCredentials,
}

/// Starts the agent on a thread of its own. The stop ends a try in the middle: the next start makes
/// another one after the pause.
pub(crate) fn start(mut agent: AcmeAgent, stop: Stop) -> io::Result<Ending> {
    let (running, ended) = Ending::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_name("relay-acme-name")
        .build()?;
    let thread = thread::Builder::new().name("relay-acme".to_owned());
    running.spawn(thread, move || {
        let run = AssertUnwindSafe(|| runtime.block_on(agent.run(&stop)));
        // The certificate in use goes on until it expires, which an alert tells in time.
        if catch_unwind(run).is_err() {
            log::error!("the ACME client panicked: certificates are not renewed any more");
        }
        // A look-up of a name that hangs is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(ended)
}
