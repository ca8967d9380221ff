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
use crate::delivery::levels::http::wire::Dialer;
use crate::delivery::target::Target;
use crate::model::AddressPolicy;
use crate::ops::fd_limit;
use crate::store::DestinationId;

/// Each of a connection's two buffers, in bytes. They stay while a connection idles. An answer's
/// headers may be larger (`wire/head.rs`): then they take up to 64 KiB more until they are read, at
/// most 4 MiB with 64 workers. A longer line of a request's head takes a larger buffer for this one
/// request, within `server.max_header_bytes`.
pub(super) const BUFFER: usize = 16 * 1024;

/// The agents of a configuration, and of the one before: an attempt is made by its own policy.
pub(super) struct Agents {
    present: Arc<AgentSet>,
    previous: Option<Arc<AgentSet>>,
}

/// The agents of one configuration.
struct AgentSet {
    config: Arc<Resolved>,
    /// For destinations that the operator configured: any address is allowed.
    operator: AgentShards,
    /// For URLs that came with a relay. Their connections are their own, so that none is used that
    /// was dialled under the operator's rules.
    client: AgentShards,
    /// For destinations with certificates or a proxy of their own, by name.
    private: HashMap<String, PrivateAgent>,
    operator_names: Arc<Names>,
    client_names: Arc<Names>,
}

/// The agent of a destination with certificates or a proxy of its own.
struct PrivateAgent {
    policy: Arc<DestinationPolicy>,
    /// The contents of the files that the policy names: others make another agent.
    files: Vec<String>,
    agent: Agent,
}

/// Agents with the same rules, each with connections of its own for a part of the destinations. For
/// each request ureq searches all idle connections of its pool, and for each of its hosts anew; and
/// one destination's idle connection is closed to make room for another's. In one shard a hundred
/// destinations got half as much with 64 workers (measured).
#[derive(Clone)]
struct AgentShards(Arc<[Agent]>);

impl AgentShards {
    fn of(&self, destination: DestinationId) -> &Agent {
        &self.0[destination.shard(self.0.len())]
    }
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
            let shared = set.operator.0.iter().chain(&*set.client.0);
            let private = set.private.values().map(|own| &own.agent);
            for agent in shared.chain(private) {
                agent.clone().shutdown();
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
            _ => maker.shards(UrlOrigin::Operator, shared, &operator_names)?,
        };
        let client = match before {
            Some(before) if before.is_like_for_adhoc(&maker.config) => before.client.clone(),
            _ => maker.shards(UrlOrigin::Client, adhoc, &client_names)?,
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
            return is_present.then(|| self.client.of(target.id));
        }
        if !network.is_own(shared_proxy(&self.config)) {
            return Some(self.operator.of(target.id));
        }
        let own = self.private.get(&target.name);
        let own = own.filter(|own| own.policy.network == *network);
        own.map(|own| &own.agent)
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
        let files: Vec<String> = to
            .network
            .files()
            // The reader of certificates finds a file that can't be read, and names its key.
            .map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .collect();
        let known = before.and_then(|before| before.private.get(name));
        let known = known.filter(|known| known.policy.network == to.network);
        let agent = match known.filter(|known| known.files == files) {
            Some(known) => known.agent.clone(),
            None => maker.private_agent(name, to, names)?,
        };
        if known.is_some_and(|known| known.policy == *to && known.files != files) {
            renewed.push(name.clone());
        }
        let policy = Arc::clone(to);
        let own = PrivateAgent {
            policy,
            files,
            agent,
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
    /// Agents among which destinations are divided.
    shards: usize,
    /// Idle connections that an agent keeps.
    max_idle: usize,
}

impl AgentMaker {
    pub fn new(context: &Context) -> Self {
        let own_listeners = context.own_listeners.as_slice();
        Self::of(context.config.current(), &context.clock, own_listeners)
    }

    pub fn of(config: Arc<Resolved>, clock: &Arc<dyn Clock>, own_listeners: &[SocketAddr]) -> Self {
        let (fd_limit, workers) = (fd_limit::limit(), config.delivery.workers);
        Self {
            clock: Arc::clone(clock),
            policy: Arc::new(config.address_policy(own_listeners.to_vec())),
            fd_limit,
            shards: fd_limit::shards(fd_limit, workers),
            max_idle: fd_limit::idle_per_shard(fd_limit, workers),
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
    ) -> std::io::Result<Agent> {
        Ok(self.agent(&Self::way_of(name, to)?, names))
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

    fn shards(
        &self,
        origin: UrlOrigin,
        proxy: Option<&Arc<ProxyPolicy>>,
        names: &Arc<Names>,
    ) -> std::io::Result<AgentShards> {
        let way = Self::shared_way(origin, proxy)?;
        let agents = (0..self.shards).map(|_| self.agent(&way, names));
        Ok(AgentShards(agents.collect()))
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

    pub fn agent(&self, way: &Way, names: &Arc<Names>) -> Agent {
        let (config, dialer, resolver) = self.parts(way, names);
        Agent::with_parts(config, dialer, resolver)
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
