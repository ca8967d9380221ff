//! The routes of the public contract.
//!
//! - `relays/`: `/v1/relays`. `webhooks/`: `POST /webhooks/{source}`.
//! - `events/`: `GET /events/{id}`.
//! - `health`: liveness and readiness, in the forms of both surfaces.
//! - `idempotency`: reads a request's idempotency key.

pub(super) mod events;
pub(super) mod health;
pub(super) mod idempotency;
pub(super) mod relays;
pub(super) mod webhooks;
