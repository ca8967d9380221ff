//! ureq's agents: one set for each author of URLs, and one agent for each destination that is
//! reached in a way of its own.

use std::collections::HashMap;
use std::io::Error as IoError;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use ureq::Agent;
use ureq::config::{AutoHeaderValue, Config};

use crate::clock::Clock;
use crate::config::{DestinationPolicy, ProxyPolicy, Resolved};
use crate::delivery::context::Context;
use crate::delivery::levels::http::names::Names;
use crate::delivery::levels::http::proxy::Route;
use crate::delivery::levels::http::resolver::{Resolver, UrlOrigin};
use crate::delivery::levels::http::tls::{self, Roots};
use crate::delivery::levels::http::wire::{BUFFER, Dialer, Idle, Pooled};
use crate::delivery::target::Target;
use crate::model::AddressPolicy;
use crate::named_file;
use crate::ops::fd_limit;

/// The agents of a configuration, and of the one before: an attempt is made by its own policy.
pub(super) struct Agents {
    present: Arc<AgentSet>,
    previous: Option<Arc<AgentSet>>,
}

/// The agents of one configuration.
struct AgentSet {
    config: Arc<Resolved>,
    /// For destinations that the operator configured: any address is allowed.
    operator: PooledAgent,
    /// For URLs that came with a relay. Their connections are their own, so that none is used that
    /// was dialled under the operator's rules.
    client: PooledAgent,
    /// For destinations with certificates or a proxy of their own, by name.
    private: HashMap<String, PrivateAgent>,
    operator_names: Arc<Names>,
    client_names: Arc<Names>,
}

/// The agent of a destination with certificates or a proxy of its own.
struct PrivateAgent {
    policy: Arc<DestinationPolicy>,
    /// The contents of the files that the policy names: others make another agent.
    files: Vec<Vec<u8>>,
    pooled: PooledAgent,
}

/// An agent and its connections.
#[derive(Clone)]
struct PooledAgent {
    agent: Agent,
    idle: Arc<Idle>,
}

impl Agents {
    /// An error names the destination whose certificates can't be used.
    pub fn new(maker: &AgentMaker) -> std::io::Result<Self> {
        let (present, _) = AgentSet::new(maker, None)?;
        Ok(Self {
            present: Arc::new(present),
            previous: None,
        })
    }

    /// The agents of a reload, and the destinations that only a file's contents have changed.
    /// Agents whose settings and files are the same keep their connections.
    pub fn reloaded(&self, maker: &AgentMaker) -> std::io::Result<(Self, Vec<String>)> {
        let (present, renewed) = AgentSet::new(maker, Some(&self.present))?;
        let agents = Self {
            present: Arc::new(present),
            previous: Some(Arc::clone(&self.present)),
        };
        Ok((agents, renewed))
    }

    /// The agent of an attempt, which goes the way of its own policy. None if the attempt waited
    /// while the configuration was replaced more than once.
    pub fn of(&self, target: &Target) -> Option<&Agent> {
        self.sets().find_map(|set| set.of(target))
    }

    /// Cuts all connections.
    pub fn shut_down(&self) {
        for set in self.sets() {
            let private = set.private.values().map(|own| &own.pooled);
            for pooled in private.chain([&set.operator, &set.client]) {
                pooled.idle.close();
            }
        }
    }

    fn sets(&self) -> impl Iterator<Item = &AgentSet> {
        [Some(&*self.present), self.previous.as_deref()]
            .into_iter()
            .flatten()
    }
}

impl AgentSet {
    /// `before` is the set of the configuration before: what stays the same goes on.
    fn new(maker: &AgentMaker, before: Option<&Self>) -> std::io::Result<(Self, Vec<String>)> {
        // Client URLs have look-ups of their own: their slow name servers must not keep configured
        // destinations waiting.
        let max_pending = fd_limit::look_ups(maker.fd_limit) / 2;
        let names = || Names::new(max_pending, Arc::clone(&maker.clock));
        let known = |of: fn(&Self) -> &Arc<Names>| before.map(|one| Arc::clone(of(one)));
        let operator_names = known(|one| &one.operator_names).unwrap_or_else(names);
        let client_names = known(|one| &one.client_names).unwrap_or_else(names);
        let before = before.filter(|one| one.is_like(&maker.config));
        let (private, renewed) = private_agents(maker, &operator_names, before)?;
        let (shared, adhoc) = (shared_proxy(&maker.config), adhoc_proxy(&maker.config));
        let operator = match before {
            Some(before) if shared_proxy(&before.config) == shared => before.operator.clone(),
            _ => maker.shared_agent(UrlOrigin::Operator, shared, &operator_names)?,
        };
        let client = match before {
            Some(before) if before.is_like_for_adhoc(&maker.config) => before.client.clone(),
            _ => maker.shared_agent(UrlOrigin::Client, adhoc, &client_names)?,
        };
        let set = Self {
            config: Arc::clone(&maker.config),
            operator,
            client,
            private,
            operator_names,
            client_names,
        };
        Ok((set, renewed))
    }

    /// Whether its agents have the settings that all agents of a configuration share.
    fn is_like(&self, config: &Resolved) -> bool {
        self.config.delivery.connect_timeout == config.delivery.connect_timeout
    }

    /// The same of the settings that those for ad hoc URLs share. A connection to an address that
    /// is no longer allowed must not be used again.
    fn is_like_for_adhoc(&self, config: &Resolved) -> bool {
        self.config.delivery.allow_networks == config.delivery.allow_networks
            && adhoc_proxy(&self.config) == adhoc_proxy(config)
    }

    /// The agent of an attempt. None if its policy belongs to another configuration.
    fn of(&self, target: &Target) -> Option<&Agent> {
        let network = &target.policy.network;
        if !target.policy.is_configured() {
            let is_present = network.proxy.as_ref() == adhoc_proxy(&self.config);
            return is_present.then_some(&self.client.agent);
        }
        if !network.is_own(shared_proxy(&self.config)) {
            return Some(&self.operator.agent);
        }
        let own = self.private.get(&target.name);
        let own = own.filter(|own| own.policy.network == *network);
        own.map(|own| &own.pooled.agent)
    }
}

fn shared_proxy(config: &Resolved) -> Option<&Arc<ProxyPolicy>> {
    config.delivery.proxy.as_ref()
}

fn adhoc_proxy(config: &Resolved) -> Option<&Arc<ProxyPolicy>> {
    config.adhoc().network.proxy.as_ref()
}

/// The agents of destinations with certificates or a proxy of their own, and the names of those
/// that only a file's contents have changed.
fn private_agents(
    maker: &AgentMaker,
    names: &Arc<Names>,
    before: Option<&AgentSet>,
) -> std::io::Result<(HashMap<String, PrivateAgent>, Vec<String>)> {
    let (mut private, mut renewed) = (HashMap::new(), Vec::new());
    for (name, to) in &maker.config.destinations {
        if !to.network.is_own(shared_proxy(&maker.config)) {
            continue;
        }
        let files: Vec<Vec<u8>> = to
            .network
            .files()
            // The reader of certificates finds a file that can't be read, and names its key.
            .map(|path| named_file::read(path).unwrap_or_default())
            .collect();
        let known = before.and_then(|before| before.private.get(name));
        let known = known.filter(|known| known.policy.network == to.network);
        let pooled = match known.filter(|known| known.files == files) {
            Some(known) => known.pooled.clone(),
            None => maker.private_agent(name, to, names)?,
        };
        if known.is_some_and(|known| known.policy == *to && known.files != files) {
            renewed.push(name.clone());
        }
        let policy = Arc::clone(to);
        let own = PrivateAgent {
            policy,
            files,
            pooled,
        };
        private.insert(name.clone(), own);
    }
    Ok((private, renewed))
}

/// Makes agents of one configuration.
pub(super) struct AgentMaker {
    config: Arc<Resolved>,
    clock: Arc<dyn Clock>,
    policy: Arc<AddressPolicy>,
    fd_limit: u64,
}

impl AgentMaker {
    pub fn new(context: &Context) -> Self {
        let own_listeners = context.own_listeners.as_slice();
        Self::of(context.config.current(), &context.clock, own_listeners)
    }

    pub fn of(config: Arc<Resolved>, clock: &Arc<dyn Clock>, own_listeners: &[SocketAddr]) -> Self {
        Self {
            clock: Arc::clone(clock),
            policy: Arc::new(config.address_policy(own_listeners.to_vec())),
            fd_limit: fd_limit::limit(),
            config,
        }
    }

    /// A maker for the configuration of a reload.
    pub fn reloaded(&self, config: Arc<Resolved>) -> Self {
        Self::of(config, &self.clock, &self.policy.own_listeners)
    }

    /// The agent of a destination with certificates or a proxy of its own.
    fn private_agent(
        &self,
        name: &str,
        to: &DestinationPolicy,
        names: &Arc<Names>,
    ) -> std::io::Result<PooledAgent> {
        let max_idle = fd_limit::idle_of_own_pool(self.fd_limit, self.config.delivery.workers);
        Ok(self.pooled(&Self::way_of(name, to)?, names, max_idle))
    }

    /// The way to a named destination. An error names the file that can't be used.
    pub fn way_of(name: &str, to: &DestinationPolicy) -> std::io::Result<Way> {
        let tls = tls::client_of(&to.network).map_err(|(key, problem)| {
            IoError::other(format!("destinations.{name}.{key}: {problem}"))
        })?;
        Ok(Way {
            origin: UrlOrigin::Operator,
            route: Route::new(to.network.proxy.clone()),
            tls,
        })
    }

    /// The way to ad hoc URLs.
    pub fn way_of_clients(&self) -> std::io::Result<Way> {
        Self::shared_way(UrlOrigin::Client, adhoc_proxy(&self.config))
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

    fn shared_agent(
        &self,
        origin: UrlOrigin,
        proxy: Option<&Arc<ProxyPolicy>>,
        names: &Arc<Names>,
    ) -> std::io::Result<PooledAgent> {
        let max_idle = fd_limit::idle(self.fd_limit);
        Ok(self.pooled(&Self::shared_way(origin, proxy)?, names, max_idle))
    }

    fn shared_way(origin: UrlOrigin, proxy: Option<&Arc<ProxyPolicy>>) -> std::io::Result<Way> {
        let may_have_file = origin == UrlOrigin::Operator;
        let roots = Roots::Public { may_have_file };
        Ok(Way {
            origin,
            route: Route::new(proxy.cloned()),
            tls: tls::client(roots, None).map_err(IoError::other)?,
        })
    }

    /// An agent that makes one request at a time.
    pub fn agent(&self, way: &Way, names: &Arc<Names>) -> Agent {
        self.pooled(way, names, 1).agent
    }

    /// An agent that keeps at most `max_idle` connections.
    fn pooled(&self, way: &Way, names: &Arc<Names>, max_idle: usize) -> PooledAgent {
        let (config, dialer, resolver) = self.parts(way, names);
        let idle = Idle::new(max_idle, Arc::clone(&self.clock));
        let pooled = Pooled::new(dialer, Arc::clone(&idle));
        PooledAgent {
            agent: Agent::with_parts(config, pooled, resolver),
            idle,
        }
    }

    /// The parts of an agent.
    pub fn parts(&self, way: &Way, names: &Arc<Names>) -> (Config, Dialer, Resolver) {
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
            // ureq keeps none: `Pooled` does.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .user_agent(concat!("relay/", env!("CARGO_PKG_VERSION")))
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .build();
        let clock = || -> Arc<dyn Clock> { Arc::clone(&self.clock) };
        let policy = || Arc::clone(&self.policy);
        let route = || way.route.clone();
        let dialer = Dialer::new(policy(), route(), Arc::clone(&way.tls), clock());
        let resolver = Resolver::new(way.origin, route(), policy(), clock(), Arc::clone(names));
        (config, dialer, resolver)
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

#[cfg(test)]
mod tests;
