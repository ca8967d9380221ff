//! The relay from outside: real sockets, real files, real signals.

mod support;

mod contract;
mod durability;
mod starts;

#[cfg(not(feature = "delivery-simulated"))]
mod baseline;
#[cfg(feature = "delivery-durable")]
mod crashes;
#[cfg(feature = "delivery-http")]
mod deliveries;
#[cfg(feature = "delivery-durable")]
mod durable;
#[cfg(feature = "delivery-simulated")]
mod simulated;
