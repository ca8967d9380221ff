use crate::http::admin::api::deliveries::Status;
use crate::http::admin::api::query::Parameters;
use crate::http::admin::console::link;
use crate::http::api_error::ApiError;
use crate::model::DeliveryState;

/// The fields of the form, as they were given.
#[derive(Clone, Default)]
pub(super) struct Filter {
    pub status: String,
    pub destination: String,
    pub source: String,
    pub event_type: String,
    pub since: String,
    pub until: String,
}

/// A status that the form offers.
pub(super) struct StatusOption {
    pub name: &'static str,
    pub word: String,
    pub is_chosen: bool,
}

/// A link to an operation on all that match.
pub(super) struct OperationLink {
    pub name: &'static str,
    pub path: String,
    pub is_dangerous: bool,
}

impl Filter {
    pub fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        let mut copy = parameters.clone();
        let mut field = |name| Ok::<_, ApiError>(copy.take(name)?.unwrap_or_default());
        Ok(Self {
            status: field("status")?,
            destination: field("destination")?,
            source: field("source")?,
            event_type: field("type")?,
            since: field("since")?,
            until: field("until")?,
        })
    }

    fn pairs(&self) -> [(&'static str, Option<&str>); 6] {
        fn given(text: &str) -> Option<&str> {
            (!text.is_empty()).then_some(text)
        }
        [
            ("status", given(&self.status)),
            ("destination", given(&self.destination)),
            ("source", given(&self.source)),
            ("type", given(&self.event_type)),
            ("since", given(&self.since)),
            ("until", given(&self.until)),
        ]
    }

    /// Whether any field is filled in.
    pub fn is_given(&self) -> bool {
        self.pairs().iter().any(|(_, value)| value.is_some())
    }

    /// The page of the list that begins there.
    pub fn page(&self, after: Option<&str>) -> String {
        let mut pairs = self.pairs().to_vec();
        pairs.push(("after", after));
        link::with("/deliveries", &pairs)
    }

    /// The page that counts an operation on all that match.
    fn operation(&self, kind: &str, status: Option<Status>) -> String {
        let mut pairs = vec![("kind", Some(kind))];
        let is_reroute = kind == "reroute";
        pairs.extend(self.pairs().map(|(name, value)| match name {
            "destination" if is_reroute => ("from", value),
            "since" | "until" if compares_another_time(status) => (name, None),
            name => (name, value),
        }));
        link::with("/operations/new", &pairs)
    }

    /// The page that counts what today's routes want and is missing, of the events that match.
    fn routing(&self) -> String {
        let mut pairs = vec![("kind", Some("replay")), ("route", Some("true"))];
        let pairs_left = self.pairs().into_iter();
        pairs.extend(pairs_left.filter(|(name, _)| *name != "status"));
        link::with("/operations/new", &pairs)
    }

    /// The states that the form offers.
    pub fn statuses(&self) -> Vec<StatusOption> {
        let states = DeliveryState::ALL.map(DeliveryState::name);
        let names = states.into_iter().chain(["blocked", "unrouted"]);
        let options = names.map(|name| StatusOption {
            name,
            word: match name {
                "blocked" => "blocked by its order".to_owned(),
                name => name.replace('_', " "),
            },
            is_chosen: self.status == name,
        });
        options.collect()
    }

    /// Whether the links of the operations lack times that the filter has.
    pub fn leaves_times_out(&self, status: Option<Status>) -> bool {
        compares_another_time(status) && !(self.since.is_empty() && self.until.is_empty())
    }

    /// The operations that work on deliveries of this status.
    pub fn operations(&self, status: Option<Status>) -> Vec<OperationLink> {
        use DeliveryState::{DeadLettered, Delivered, Queued, Retrying};
        let kinds: &[(&str, &'static str)] = match status {
            Some(Status::State(DeadLettered)) => {
                &[("replay", "Replay all …"), ("discard", "Discard all …")]
            }
            Some(Status::State(Delivered)) => &[("replay", "Send all again …")],
            Some(Status::State(Queued | Retrying)) => &[
                ("retry", "Retry all now …"),
                ("reroute", "Reroute all …"),
                ("discard", "Discard all …"),
            ],
            Some(Status::Unrouted) => {
                return vec![OperationLink {
                    name: "Send by today's routes …",
                    path: self.routing(),
                    is_dangerous: false,
                }];
            }
            _ => &[],
        };
        let links = kinds.iter().map(|&(kind, name)| OperationLink {
            name,
            path: self.operation(kind, status),
            is_dangerous: kind == "discard",
        });
        links.collect()
    }
}

/// Whether an operation on deliveries of this status compares the time when they were given up: the
/// list compares when they were accepted.
fn compares_another_time(status: Option<Status>) -> bool {
    status == Some(Status::State(DeliveryState::DeadLettered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_on_a_list_has_the_filters_of_the_list() {
        let filter = Filter {
            status: "unrouted".to_owned(),
            source: "a b".to_owned(),
            since: "2h".to_owned(),
            ..Filter::default()
        };
        let paths = |filter: &Filter, status| -> Vec<String> {
            let links = filter.operations(Some(status)).into_iter();
            links.map(|link| link.path).collect()
        };
        assert_eq!(
            paths(&filter, Status::Unrouted),
            ["/operations/new?kind=replay&route=true&source=a+b&since=2h"]
        );
        let filter = Filter {
            status: "queued".to_owned(),
            destination: "d".to_owned(),
            ..Filter::default()
        };
        assert_eq!(
            paths(&filter, Status::State(DeliveryState::Queued)),
            [
                "/operations/new?kind=retry&status=queued&destination=d",
                "/operations/new?kind=reroute&status=queued&from=d",
                "/operations/new?kind=discard&status=queued&destination=d",
            ]
        );
    }

    #[test]
    fn times_that_an_operation_compares_otherwise_are_left_out() {
        let filter = |status: DeliveryState| Filter {
            status: status.name().to_owned(),
            since: "2h".to_owned(),
            ..Filter::default()
        };
        for (state, expected) in [
            (
                DeliveryState::DeadLettered,
                "/operations/new?kind=replay&status=dead_lettered",
            ),
            (
                DeliveryState::Delivered,
                "/operations/new?kind=replay&status=delivered&since=2h",
            ),
        ] {
            let (filter, status) = (filter(state), Some(Status::State(state)));
            assert_eq!(filter.operations(status)[0].path, expected);
            let is_left_out = state == DeliveryState::DeadLettered;
            assert_eq!(filter.leaves_times_out(status), is_left_out);
        }
    }
}
