//! The relay from outside: real sockets, real files, real signals.

#![allow(clippy::too_many_lines, reason = "tables of cases are long")]

mod support;

mod acme;
mod admin;
mod backlog;
mod bad_requests;
mod contract;
mod durability;
mod framing;
mod harness;
mod hostile;
mod idempotency;
mod learned_secrets;
mod limits;
mod logs;
mod operations;
mod overload;
mod pages;
mod permissions;
mod providers;
mod readiness;
mod reloads;
mod routes;
mod schemes;
mod service_manager;
mod setup;
mod snapshots;
mod standard_webhooks;
mod starts;
mod stops;
mod surface;
mod tls;
mod verified;

#[cfg(feature = "delivery-durable")]
mod again;
#[cfg(feature = "delivery-durable")]
mod alerts;
#[cfg(feature = "delivery-durable")]
mod answers;
#[cfg(feature = "delivery-durable")]
mod backups;
#[cfg(feature = "delivery-durable")]
mod bad_receivers;
#[cfg(not(feature = "delivery-simulated"))]
mod baseline;
#[cfg(feature = "delivery-durable")]
mod breakers;
#[cfg(feature = "delivery-durable")]
mod budget;
#[cfg(feature = "delivery-durable")]
mod certificates;
#[cfg(feature = "delivery-durable")]
mod client_certificates;
#[cfg(feature = "delivery-durable")]
mod clock_jumps;
#[cfg(feature = "delivery-simulated")]
mod commands;
#[cfg(feature = "delivery-durable")]
mod crashes;
#[cfg(feature = "delivery-durable")]
mod damage;
#[cfg(feature = "delivery-http")]
mod deliveries;
#[cfg(feature = "delivery-durable")]
mod disclosure;
#[cfg(feature = "delivery-durable")]
mod doctor;
#[cfg(feature = "delivery-durable")]
mod documents;
#[cfg(feature = "delivery-durable")]
mod durable;
#[cfg(feature = "delivery-durable")]
mod erasing;
#[cfg(all(feature = "delivery-durable", feature = "postgres"))]
mod moves;
#[cfg(feature = "delivery-durable")]
mod neighbours;
#[cfg(feature = "postgres")]
mod on_postgres;
#[cfg(feature = "delivery-durable")]
mod ordering;
#[cfg(feature = "delivery-durable")]
mod outages;
#[cfg(feature = "delivery-durable")]
mod pings;
#[cfg(feature = "delivery-durable")]
mod proxies;
#[cfg(feature = "delivery-durable")]
mod proxy_failures;
#[cfg(feature = "delivery-durable")]
mod reload_state;
#[cfg(feature = "delivery-durable")]
mod rollups;
#[cfg(feature = "delivery-durable")]
mod shortage;
#[cfg(feature = "delivery-simulated")]
mod simulated;
#[cfg(feature = "delivery-durable")]
mod sql_views;
#[cfg(feature = "delivery-durable")]
mod tails;
#[cfg(feature = "delivery-durable")]
mod transfers;
