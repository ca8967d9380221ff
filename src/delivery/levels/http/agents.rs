//! ureq's agents: one set for each author of URLs, and one agent for each destination that is
//! reached in a way of its own.

use std::collections::HashMap;
use std::io::Error as IoError;
use std::sync::Arc;

use rustls::ClientConfig;
use ureq::Agent;
use ureq::config::AutoHeaderValue;

use crate::clock::Clock;
use crate::config::{ProxyPolicy, Resolved};
use crate::delivery::attempt::Attempt;
use crate::delivery::context::Context;
use crate::delivery::levels::http::names::Names;
use crate::delivery::levels::http::proxy::Route;
use crate::delivery::levels::http::resolver::{Resolver, UrlOrigin};
use crate::delivery::levels::http::tls::{self, Roots};
use crate::delivery::levels::http::wire::Dialer;
use crate::model::AddressPolicy;
use crate::ops::fd_limit::{self, AGENT_SHARDS};
use crate::store::DestinationId;

/// Each of a connection's two buffers, in bytes. They stay while a connection idles. An answer's
/// headers may be larger (`wire/head.rs`): then they take up to 64 KiB more until they are read, at
/// most 4 MiB with 64 workers.
const BUFFER: usize = 16 * 1024;

pub(super) struct Agents {
    /// For destinations that the operator configured: any address is allowed.
    operator: AgentShards,
    /// For URLs that came with a relay. Their connections are their own, so that none is used that
    /// was dialled under the operator's rules.
    client: AgentShards,
    /// For destinations with certificates or a proxy of their own, by name.
    private: HashMap<String, Agent>,
}

/// Agents with the same rules, each with connections of its own for a part of the destinations. For
/// each request ureq searches all idle connections of its pool, and for each of its hosts anew; and
/// one destination's idle connection is closed to make room for another's. In one shard a hundred
/// destinations got half as much with 64 workers (measured).
struct AgentShards([Agent; AGENT_SHARDS]);

impl AgentShards {
    fn of(&self, destination: DestinationId) -> &Agent {
        &self.0[destination.shard(AGENT_SHARDS)]
    }
}

impl Agents {
    /// An error names the destination whose certificates can't be used.
    pub fn new(context: &Context) -> std::io::Result<Self> {
        let maker = AgentMaker::new(context);
        // Client URLs have look-ups of their own: their slow name servers must not keep configured
        // destinations waiting.
        let max_pending = fd_limit::look_ups(maker.fd_limit) / 2;
        let names = || Names::new(max_pending, Arc::clone(&context.clock));
        let (operator, client) = (names(), names());
        let shared = maker.config.delivery.proxy.as_ref();
        let mut private = HashMap::new();
        for (name, to) in &maker.config.destinations {
            if to.network.is_own(shared) {
                let tls = tls::client_of(&to.network).map_err(|(key, problem)| {
                    IoError::other(format!("destinations.{name}.{key}: {problem}"))
                })?;
                let way = Way {
                    origin: UrlOrigin::Operator,
                    route: Route::new(to.network.proxy.clone()),
                    tls,
                };
                private.insert(name.clone(), maker.agent(&way, &operator));
            }
        }
        let adhoc = maker.config.adhoc().network.proxy.as_ref();
        Ok(Self {
            operator: maker.shards(UrlOrigin::Operator, shared, &operator)?,
            client: maker.shards(UrlOrigin::Client, adhoc, &client)?,
            private,
        })
    }

    /// The agent of an attempt.
    pub fn of(&self, attempt: &Attempt) -> &Agent {
        let target = &attempt.target;
        if !target.policy.is_configured() {
            return self.client.of(target.id);
        }
        let own = self.private.get(&target.name);
        own.unwrap_or_else(|| self.operator.of(target.id))
    }

    /// Cuts all connections.
    pub fn shut_down(&self) {
        let shared = self.operator.0.iter().chain(&self.client.0);
        for agent in shared.chain(self.private.values()) {
            agent.clone().shutdown();
        }
    }
}

/// Makes agents of one configuration.
pub(super) struct AgentMaker {
    config: Arc<Resolved>,
    clock: Arc<dyn Clock>,
    policy: Arc<AddressPolicy>,
    fd_limit: u64,
    /// Idle connections that an agent keeps.
    max_idle: usize,
}

impl AgentMaker {
    pub fn new(context: &Context) -> Self {
        let config = context.config.current();
        let fd_limit = fd_limit::limit();
        Self {
            clock: Arc::clone(&context.clock),
            policy: Arc::new(config.address_policy(context.own_listeners.clone())),
            fd_limit,
            max_idle: fd_limit::idle_per_shard(fd_limit, config.delivery.workers),
            config,
        }
    }

    /// An agent for the certificates of providers, with look-ups and connections of its own. Their
    /// URLs come with requests, but the operator named the hosts: the operator's proxy is used.
    pub fn certificate_agent(&self) -> Result<Agent, String> {
        let names = Names::new(1, Arc::clone(&self.clock));
        let roots = Roots::Public {
            may_have_file: false,
        };
        let way = self.way_of_certificates(tls::client(roots, None)?);
        Ok(self.agent(&way, &names))
    }

    /// An agent for the heartbeat, with look-ups and a connection of its own, and the operator's
    /// proxy.
    pub fn heartbeat_agent(&self) -> Result<Agent, String> {
        let names = Names::new(1, Arc::clone(&self.clock));
        let roots = Roots::Public {
            may_have_file: true,
        };
        let way = Way {
            origin: UrlOrigin::Operator,
            route: Route::new(self.config.delivery.proxy.clone()),
            tls: tls::client(roots, None)?,
        };
        Ok(self.agent(&way, &names))
    }

    pub fn way_of_certificates(&self, tls: Arc<ClientConfig>) -> Way {
        Way {
            origin: UrlOrigin::Client,
            route: Route::new(self.config.delivery.proxy.clone()),
            tls,
        }
    }

    fn shards(
        &self,
        origin: UrlOrigin,
        proxy: Option<&Arc<ProxyPolicy>>,
        names: &Arc<Names>,
    ) -> std::io::Result<AgentShards> {
        let may_have_file = origin == UrlOrigin::Operator;
        let roots = Roots::Public { may_have_file };
        let way = Way {
            origin,
            route: Route::new(proxy.cloned()),
            tls: tls::client(roots, None).map_err(IoError::other)?,
        };
        let agent = |_| self.agent(&way, names);
        Ok(AgentShards(std::array::from_fn(agent)))
    }

    pub fn agent(&self, way: &Way, names: &Arc<Names>) -> Agent {
        let connect_timeout = self.config.delivery.connect_timeout;
        let config = Agent::config_builder()
            // The default takes HTTP_PROXY, which would bypass every address check. The dialer asks
            // a configured proxy for tunnels.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(Some(connect_timeout))
            .timeout_connect(Some(connect_timeout))
            .max_response_header_size(BUFFER)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(self.max_idle)
            .max_idle_connections_per_host(self.max_idle)
            .user_agent(concat!("relay/", env!("CARGO_PKG_VERSION")))
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .build();
        let clock = || -> Arc<dyn Clock> { Arc::clone(&self.clock) };
        let policy = || Arc::clone(&self.policy);
        let route = || way.route.clone();
        let dialer = Dialer::new(policy(), route(), Arc::clone(&way.tls), clock());
        let resolver = Resolver::new(way.origin, route(), policy(), clock(), Arc::clone(names));
        Agent::with_parts(config, dialer, resolver)
    }
}

/// The way of an agent's connections.
pub(super) struct Way {
    origin: UrlOrigin,
    route: Route,
    tls: Arc<ClientConfig>,
}

/// Finds certificates and keys that can't be used, without a start. An error is a key and its
/// problem.
pub(in crate::delivery::levels) fn check(config: &Resolved) -> Result<(), (String, String)> {
    for (name, to) in &config.destinations {
        tls::client_of(&to.network)
            .map_err(|(key, problem)| (format!("destinations.{name}.{key}"), problem))?;
    }
    Ok(())
}
