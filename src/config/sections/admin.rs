//! `[admin]`: the operator's listener.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::secrets::{Env, NamedSecret, VariableNames};
use crate::config::sections::tls::Tls;
use crate::config::units;

/// The shortest token, in bytes. A decision: 16 random characters hold some 95 bits, which nobody
/// guesses over a network.
const MIN_TOKEN_BYTES: usize = 16;
/// Names that `allowed_hosts` may list: each request is compared with all of them.
const MAX_HOSTS: usize = 64;

/// The operator's listener: metrics and the admin API, which the public listener never serves.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address to listen at; none turns the listener off. Default: `127.0.0.1:8081`.
    #[serde(deserialize_with = "units::listen_or_off")]
    #[cfg_attr(test, schemars(with = "units::ListenOrOffText"))]
    pub listen: Option<SocketAddr>,
    /// Environment variables that hold one token each, for the role `operate`. Default: none, and
    /// then everybody who reaches the listener may operate, which only loopback allows.
    pub tokens_env: Option<VariableNames>,
    /// Environment variables that hold one token each, for the role `read`. Default: none.
    pub read_tokens_env: Option<VariableNames>,
    /// Names that requests may give as their host, besides addresses, `localhost` and names below
    /// it. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Whether `/metrics` needs no token. Default: false.
    pub metrics_public: bool,
    /// The certificate of the listener, which then speaks TLS alone. Default: none.
    pub tls: Option<Tls>,
    /// The tokens of `tokens_env`.
    #[serde(skip)]
    pub tokens: Vec<NamedSecret>,
    /// The tokens of `read_tokens_env`.
    #[serde(skip)]
    pub read_tokens: Vec<NamedSecret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            tokens_env: None,
            read_tokens_env: None,
            allowed_hosts: Vec::new(),
            metrics_public: false,
            tls: None,
            tokens: Vec::new(),
            read_tokens: Vec::new(),
        }
    }
}

impl Admin {
    /// Reads the tokens, and removes the references. An error is a reference's key and the problem.
    pub(in crate::config) fn resolve_tokens(
        &mut self,
        key: &str,
        env: Env<'_>,
    ) -> Result<(), (String, String)> {
        let lists = [
            ("tokens_env", &mut self.tokens_env, &mut self.tokens),
            (
                "read_tokens_env",
                &mut self.read_tokens_env,
                &mut self.read_tokens,
            ),
        ];
        for (name, variables, tokens) in lists {
            let Some(variables) = variables.take() else {
                continue;
            };
            let key = format!("{key}.{name}");
            let found = NamedSecret::all(&key, &variables, env);
            tokens.extend(found.map_err(|problem| (key, problem))?);
        }
        Ok(())
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        self.check_tokens(key)?;
        self.check_hosts(&format!("{key}.allowed_hosts"))?;
        if let Some(tls) = &self.tls {
            tls.check(&format!("{key}.tls"))?;
        }
        self.listen.map_or(Ok(()), |listen| {
            self.check_address(&format!("{key}.listen"), listen)
        })
    }

    /// Without a token everybody who reaches the listener may operate: only loopback is reached by
    /// the machine's users alone.
    pub(crate) fn check_address(&self, key: &str, address: SocketAddr) -> Checked {
        if address.ip().to_canonical().is_loopback() || self.has_tokens() {
            return Ok(());
        }
        bad(
            key,
            address,
            "a loopback address, or a token: set RELAY_ADMIN_TOKEN, or name the variables in \
             admin.tokens_env",
        )
    }

    /// Whether requests need a token.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty() || !self.read_tokens.is_empty()
    }

    fn check_tokens(&self, key: &str) -> Checked {
        let operate = self.tokens.iter().map(|token| (token, "tokens_env"));
        let read = self
            .read_tokens
            .iter()
            .map(|token| (token, "read_tokens_env"));
        let all: Vec<_> = operate.chain(read).collect();
        for (at, (token, list)) in all.iter().enumerate() {
            let key = format!("{key}.{list}");
            let text = token.secret.reveal();
            if text.len() < MIN_TOKEN_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let expected = "a variable that holds at least 16 visible ASCII characters";
                return bad(&key, quoted(&token.name), expected);
            }
            if let Some((other, _)) = all[..at]
                .iter()
                .find(|(other, _)| other.has_secret_of(token))
            {
                let name = &other.name;
                let expected = format!("another token than that of {name}");
                return bad(&key, quoted(&token.name), &expected);
            }
        }
        Ok(())
    }

    fn check_hosts(&self, key: &str) -> Checked {
        if self.allowed_hosts.len() > MAX_HOSTS {
            let count = self.allowed_hosts.len();
            return bad(key, format_args!("{count} names"), "at most 64");
        }
        for host in &self.allowed_hosts {
            let is_host_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host_name) {
                let expected = "a host's name without a port, such as \"relay.internal\"";
                return bad(key, quoted(host), expected);
            }
        }
        Ok(())
    }
}
