//! The fields of the form of a new operation.

use crate::model::DeliveryState;
use crate::ops::operations::OperationKind;

/// A field of the request, as it was given.
pub(super) struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub value: String,
    pub is_choice: bool,
    pub hint: &'static str,
    /// The only values that it may have, each with its word; empty if any will do.
    pub options: Vec<(&'static str, String)>,
}

/// The fields that a kind has: name, label, whether it is a choice of destinations, hint.
type FieldOf = (&'static str, &'static str, bool, &'static str);

const STATUS: FieldOf = ("status", "State", false, "any");
const DESTINATION: FieldOf = ("destination", "Destination", true, "any");
const SOURCE: FieldOf = ("source", "Source", false, "any");
const TYPE: FieldOf = ("type", "Type", false, "any, or invoice.*");
const REASON: FieldOf = ("reason", "Last error contains", false, "any");
const SINCE: FieldOf = ("since", "Since", false, "2h, or a time");
const UNTIL: FieldOf = ("until", "Until", false, "now");
const ROUTE: FieldOf = ("route", "Where to", false, "as before");
const FROM: FieldOf = ("from", "From destination", true, "required");
const TO: FieldOf = ("to", "To destination", true, "as before");
const REROUTE_TO: FieldOf = ("to", "To destination", true, "required");

fn fields_of(kind: OperationKind) -> &'static [FieldOf] {
    match kind {
        OperationKind::Replay => &[
            STATUS,
            DESTINATION,
            SOURCE,
            TYPE,
            REASON,
            SINCE,
            UNTIL,
            ROUTE,
            TO,
        ],
        OperationKind::Retry | OperationKind::Discard | OperationKind::Erase => {
            &[STATUS, DESTINATION, SOURCE, TYPE, REASON, SINCE, UNTIL]
        }
        OperationKind::Reroute => &[FROM, REROUTE_TO, STATUS, SOURCE, TYPE, REASON, SINCE, UNTIL],
    }
}

/// The fields of a kind, with what was given.
pub(super) fn shown_fields(kind: OperationKind, given: &[(String, String)]) -> Vec<Field> {
    let ids = given.iter().any(|(name, _)| name == "ids");
    let all = fields_of(kind).iter();
    // Ids say already which ones are meant.
    let of_ids = ["to", "route", "destination", "status"];
    let all = all.filter(|(name, ..)| !ids || of_ids.contains(name));
    let shown = all.map(|&(name, label, is_choice, hint)| Field {
        name,
        label,
        value: value_of(given, name).to_owned(),
        is_choice,
        hint: if name == "status" {
            usual_states(kind, given)
        } else {
            hint
        },
        options: match name {
            "status" => statuses(kind),
            "route" => vec![("true", "today's routes".to_owned())],
            _ => Vec::new(),
        },
    });
    let ids = ids.then(|| Field {
        name: "ids",
        label: "Relay or event",
        value: value_of(given, "ids").to_owned(),
        is_choice: false,
        hint: "",
        options: Vec::new(),
    });
    ids.into_iter().chain(shown).collect()
}

/// The states that a kind works on if none is chosen.
fn usual_states(kind: OperationKind, given: &[(String, String)]) -> &'static str {
    let is_of_events = ["route", "to"]
        .iter()
        .any(|name| !value_of(given, name).is_empty());
    match kind {
        OperationKind::Replay if is_of_events => "any",
        OperationKind::Replay | OperationKind::Discard => "dead letters",
        OperationKind::Retry | OperationKind::Reroute => "all waiting",
        OperationKind::Erase => "any",
    }
}

/// The states of the deliveries that a kind can work on.
fn statuses(kind: OperationKind) -> Vec<(&'static str, String)> {
    use DeliveryState::{DeadLettered, Delivered, Queued, Retrying};
    let states: &[DeliveryState] = match kind {
        OperationKind::Replay => &[DeadLettered, Delivered],
        OperationKind::Retry | OperationKind::Reroute => &[Queued, Retrying],
        OperationKind::Discard => &[DeadLettered, Queued, Retrying],
        OperationKind::Erase => &DeliveryState::ALL,
    };
    let options = states.iter().map(|state| {
        let name = state.name();
        (name, name.replace('_', " "))
    });
    options.collect()
}

/// The value of a field; empty if none was given.
pub(super) fn value_of<'a>(given: &'a [(String, String)], wanted: &str) -> &'a str {
    let found = given.iter().find(|(name, _)| name == wanted);
    found.map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_tells_which_states_it_works_on_if_none_is_chosen() {
        let told = |kind, given: &[(&str, &str)]| {
            let given = given.iter();
            let given = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let fields = shown_fields(kind, &given.collect::<Vec<_>>());
            let states = fields.into_iter().find(|field| field.name == "status");
            states.expect("each kind has states").hint
        };
        assert_eq!(told(OperationKind::Replay, &[]), "dead letters");
        assert_eq!(told(OperationKind::Replay, &[("route", "true")]), "any");
        assert_eq!(told(OperationKind::Replay, &[("to", "orders")]), "any");
        assert_eq!(told(OperationKind::Discard, &[]), "dead letters");
        assert_eq!(told(OperationKind::Reroute, &[]), "all waiting");
        assert_eq!(told(OperationKind::Erase, &[]), "any");
    }
}
