//! The places of secrets in a configuration whose references aren't resolved yet.

use std::path::PathBuf;

use crate::config::secrets::{OneSecret, Reference, SecretList};
use crate::config::settings::Config;

/// A setting that holds secrets.
pub(crate) struct SecretPlace {
    /// Its key.
    pub key: String,
    /// Whether secrets stand in the configuration file itself.
    pub is_in_place: bool,
    /// The file that holds secrets.
    pub file: Option<PathBuf>,
}

impl Config {
    /// The settings that hold secrets. Takes them: the configuration is of no further use.
    pub(crate) fn into_secret_places(mut self) -> Vec<SecretPlace> {
        let mut places = vec![
            of_list(self.api.secret_list("api")),
            of_one(self.delivery.proxy_secret("delivery")),
            SecretPlace {
                key: "database.url".to_owned(),
                is_in_place: self.database.url.is_some(),
                file: None,
            },
        ];
        let listeners = [("server", self.server.tls), ("admin", self.admin.tls)];
        places.extend(listeners.into_iter().filter_map(|(listener, tls)| {
            Some(SecretPlace {
                key: format!("{listener}.tls.key"),
                is_in_place: false,
                file: Some(tls?.key_file),
            })
        }));
        for (name, to) in &mut self.destinations {
            let key = format!("destinations.{name}");
            places.push(of_list(to.secret_list(&key)));
            places.push(of_one(to.proxy_secret(&key)));
            places.push(SecretPlace {
                key: format!("{key}.headers"),
                is_in_place: !to.headers.is_empty(),
                file: None,
            });
            places.push(SecretPlace {
                key: format!("{key}.client_key"),
                is_in_place: false,
                file: to.client_key_file.take(),
            });
        }
        for (name, source) in &mut self.sources {
            let references = source.references(&format!("sources.{name}"));
            places.extend(
                references
                    .into_iter()
                    .filter_map(|reference| match reference {
                        Reference::Secrets(list) => Some(of_list(list)),
                        // Public keys are nobody's secret.
                        Reference::PublicKeys(_) => None,
                    }),
            );
        }
        places.retain(|place| place.is_in_place || place.file.is_some());
        places
    }
}

fn of_list(list: SecretList<'_>) -> SecretPlace {
    SecretPlace {
        key: list.key,
        is_in_place: !list.secrets.is_empty(),
        file: list.file.take(),
    }
}

fn of_one(one: OneSecret<'_>) -> SecretPlace {
    SecretPlace {
        key: one.key,
        is_in_place: one.secret.is_some(),
        file: one.file.take(),
    }
}
