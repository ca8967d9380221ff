//! The table of tables: everything that a store keeps, on every engine, and whether it is moved. A
//! test compares it with the schemas, so that a new table or column is not forgotten.

use ColumnKind::{Blob, Counts, Flag, Int2, Int4, Int8, Said, Text};

/// How a column is stored: on SQLite, and on PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// `INTEGER`; `smallint`.
    Int2,
    /// `INTEGER`; `int`.
    Int4,
    /// `INTEGER`; `bigint`.
    Int8,
    /// 0 or 1; `boolean`.
    Flag,
    /// `TEXT`; `text`.
    Text,
    /// `TEXT`; `bytea`, since it comes from outside and may hold a NUL.
    Said,
    /// `BLOB`; `bytea`.
    Blob,
    /// Counts of a histogram: `BLOB`, as LEB128; `int8[]`.
    Counts,
}

/// A column that is moved. It has the same name on every engine.
pub(crate) type MovedColumn = (&'static str, ColumnKind);

/// A table that is moved.
#[derive(Debug)]
pub(crate) struct MovedTable {
    /// `SQLite`'s.
    pub name: &'static str,
    /// `PostgreSQL`'s, several if what changes often stands apart.
    pub on_postgres: &'static [&'static str],
    pub columns: &'static [MovedColumn],
    /// Columns of one engine alone, and why they are not moved.
    pub own_columns: &'static [(&'static str, &'static str)],
}

/// Tables of figures and of what a start writes: a store with nothing else counts as empty, and
/// loses them when it is moved to.
const FIGURES: [&str; 4] = [
    "source_rollups",
    "destination_rollups",
    "alert_states",
    "config_state",
];

impl MovedTable {
    /// Whether a store with rows of it is not empty.
    pub fn is_content(&self) -> bool {
        !FIGURES.contains(&self.name)
    }
}

/// A table of one engine that is not moved.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    pub name: &'static str,
    pub why: &'static str,
}

/// The tables in the order in which they are written: a row comes after those that it names.
pub(crate) static MOVED: [MovedTable; 13] = [
    MovedTable {
        name: "destinations",
        on_postgres: &["destinations"],
        columns: &[
            ("id", Int4),
            ("name", Text),
            ("paused_at", Int8),
            ("pause_reason", Said),
            ("held_until", Int8),
            ("probe_wait", Int8),
            ("probe_at", Int8),
            ("owner", Int8),
            ("proven_at", Int8),
        ],
        own_columns: &[
            ("bucket", "follows from the name"),
            ("unused_by", "names a life of a node: a pass finds it anew"),
        ],
    },
    MovedTable {
        name: "intents",
        on_postgres: &["intents"],
        columns: &[
            ("id", Int8),
            ("random", Int8),
            ("surface", Int2),
            ("created_at", Int8),
            ("label", Said),
            ("url", Text),
            ("scope", Int8),
            ("idempotency_key", Said),
            ("request_digest", Blob),
            ("metadata", Text),
            ("headers", Blob),
            ("body", Blob),
            ("event_type", Said),
            ("query", Said),
            ("unrouted", Int2),
            ("checksum", Int8),
            ("gone", Int2),
            ("gone_at", Int8),
        ],
        own_columns: &[],
    },
    // The digest that is moved is SQLite's, 64 bits: PostgreSQL's 128 begin with the same. SQLite's
    // keys that stand in memory while it runs are moved with those of the table.
    MovedTable {
        name: "idempotency",
        on_postgres: &["idempotency"],
        columns: &[("digest", Int8), ("intent_id", Int8)],
        own_columns: &[("created_at", "is that of the intent")],
    },
    MovedTable {
        name: "deliveries",
        on_postgres: &["waiting", "ended", "claims"],
        columns: &[
            ("intent_id", Int8),
            ("destination_id", Int4),
            ("state", Int2),
            ("attempts", Int4),
            ("history", Int4),
            ("interruptions", Int4),
            ("next_attempt_at", Int8),
            ("claim", Int8),
            ("updated_at", Int8),
            ("last_error", Said),
            ("order_key", Int8),
            ("place", Int8),
            ("discarded_at", Int8),
        ],
        own_columns: &[
            ("epoch", "of a claim: a life of a node"),
            ("turn", "of a claim: counts within a life"),
            ("made_at", "of a claim: moved as updated_at"),
            ("intents", "of a claim: moved as deliveries of state 1"),
            ("destinations", "of a claim: as intents"),
            ("histories", "of a claim: as intents"),
            ("begun", "of a claim: moved as the sign of claim"),
        ],
    },
    MovedTable {
        name: "attempts",
        on_postgres: &["attempts"],
        columns: &[
            ("intent_id", Int8),
            ("destination_id", Int4),
            ("entry", Int4),
            ("attempt", Int4),
            ("started_at", Int8),
            ("duration_ms", Int8),
            ("outcome", Int2),
            ("status_code", Int4),
            ("error", Said),
            ("response", Blob),
            ("failure", Text),
            ("address", Text),
            ("resolve_ms", Int8),
            ("connect_ms", Int8),
            ("first_byte_ms", Int8),
            ("next", Said),
            ("tls_ms", Int8),
        ],
        own_columns: &[],
    },
    MovedTable {
        name: "jobs",
        on_postgres: &["jobs"],
        columns: &[
            ("id", Int8),
            ("operation", Int8),
            ("kind", Int2),
            ("destination_id", Int4),
            ("target_id", Int4),
            ("states", Int8),
            ("source", Said),
            ("event_type", Said),
            ("reason", Said),
            ("ids", Text),
            ("since", Int8),
            ("until", Int8),
            ("total", Int8),
            ("done", Int8),
            ("skipped", Int8),
            ("payload_gone", Int8),
            ("in_flight", Int8),
            ("cursor_at", Int8),
            ("cursor_intent", Int8),
            ("cursor_more", Int8),
            ("pass_done", Int8),
            ("begun_at", Int8),
            ("look_again_at", Int8),
            ("look_until", Int8),
            ("erased_at", Int8),
            ("nonce", Said),
            ("actor", Text),
            ("created_at", Int8),
            ("ended_at", Int8),
            ("is_cancelled", Flag),
        ],
        own_columns: &[],
    },
    MovedTable {
        name: "learned_secrets",
        on_postgres: &["learned_secrets"],
        columns: &[
            ("id", Int8),
            ("source", Text),
            ("secret", Said),
            ("learned_at", Int8),
        ],
        own_columns: &[],
    },
    MovedTable {
        name: "expected_secrets",
        on_postgres: &["expected_secrets"],
        columns: &[("source", Text), ("until", Int8)],
        own_columns: &[],
    },
    MovedTable {
        name: "source_rollups",
        on_postgres: &["source_rollups"],
        columns: &[
            ("grain", Int4),
            ("at", Int8),
            ("source", Text),
            ("accepted", Int8),
            ("duplicates", Int8),
            ("refused", Int8),
        ],
        own_columns: &[],
    },
    MovedTable {
        name: "destination_rollups",
        on_postgres: &["destination_rollups"],
        columns: &[
            ("grain", Int4),
            ("at", Int8),
            ("destination", Text),
            ("delivered", Int8),
            ("failed", Int8),
            ("dead", Int8),
            ("latency", Counts),
        ],
        own_columns: &[],
    },
    MovedTable {
        name: "alert_states",
        on_postgres: &["alert_states"],
        columns: &[
            ("kind", Text),
            ("subject", Text),
            ("state", Text),
            ("since", Int8),
        ],
        own_columns: &[],
    },
    // Of several nodes the one that read its configuration last.
    MovedTable {
        name: "config_state",
        on_postgres: &["config_state"],
        columns: &[
            ("attempts", Int8),
            ("began_at", Int8),
            ("is_dry_run", Flag),
            ("generation", Int8),
            ("fingerprint", Text),
            ("report", Said),
            ("error", Said),
            ("process", Int8),
            ("on_hangup", Int2),
        ],
        own_columns: &[
            ("id", "is always 1"),
            ("node", "is the one that the configuration names"),
            ("answers", "counts requests of a node that has ended"),
        ],
    },
    MovedTable {
        name: "erasures",
        on_postgres: &["erasures"],
        columns: &[("intent_id", Int8), ("at", Int8)],
        own_columns: &[],
    },
];

/// The tables that are not moved, of both engines.
pub(crate) static LEFT: [LeftBehind; 9] = [
    LeftBehind {
        name: "key_sweep",
        why: "says which keys are in memory; after a move none is",
    },
    LeftBehind {
        name: "count_changes",
        why: "changes of counts in memory: a start counts anew",
    },
    LeftBehind {
        name: "settings",
        why: "database_id is moved as about.installation, unchecked_to follows from checksums, a \
              held store is refused, and last_backup is about a file",
    },
    LeftBehind {
        name: "about",
        why: "of the schema itself; its installation is moved as settings.database_id",
    },
    LeftBehind {
        name: "nodes",
        why: "nobody lives during a move",
    },
    LeftBehind {
        name: "buckets",
        why: "shared out anew by the nodes that live",
    },
    LeftBehind {
        name: "erased_keys",
        why: "follows from the keys whose intents are erased",
    },
    LeftBehind {
        name: "made",
        why: "answers of additions that a node may have lost: no node lives",
    },
    LeftBehind {
        name: "space_samples",
        why: "measures the files of one engine: a forecast from two would be wrong",
    },
];

#[cfg(test)]
mod tests;
