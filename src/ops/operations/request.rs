use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::{DeliveryState, IntentId};
use crate::ops::moment::Moment;
use crate::ops::operations::destination::{configured, known};
use crate::ops::operations::invalid::{Invalid, Spelling};
use crate::ops::operations::kind::OperationKind;
use crate::ops::operations::reading;
use crate::store::{BulkFilter, NewBulk, StateSet};

/// A request for an operation. The members have the names of the command line's options.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct OperationRequest {
    #[serde(deserialize_with = "reading::kind")]
    pub kind: Option<OperationKind>,
    /// Relays and events; instead of filters.
    #[serde(deserialize_with = "reading::ids")]
    pub ids: Vec<IntentId>,
    #[serde(deserialize_with = "reading::state")]
    pub status: Option<DeliveryState>,
    /// Dead letters, which is what a replay and a discard work on without a status.
    pub dead: bool,
    /// Deliveries that wait, in place of dead letters.
    pub pending: bool,
    pub destination: Option<String>,
    pub source: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub reason: Option<String>,
    #[serde(deserialize_with = "reading::moment")]
    pub since: Option<Moment>,
    #[serde(deserialize_with = "reading::moment")]
    pub until: Option<Moment>,
    /// Of a reroute: the destination for which they wait.
    pub from: Option<String>,
    /// The destination that gets them.
    pub to: Option<String>,
    /// Of a replay: the deliveries that today's routes want and that are missing.
    pub route: bool,
    /// Everything, where a filter is expected.
    pub all: bool,
    /// Only counts.
    pub dry_run: bool,
}

/// The circumstances of a request.
pub(crate) struct Scope<'a> {
    pub config: &'a Resolved,
    pub now: Timestamp,
    /// Whether the store knows the [`OperationRequest::named`] destination.
    pub is_stored: bool,
    pub spelling: Spelling,
}

impl OperationRequest {
    /// Reads the fields of a form. An empty field is none, a box that is ticked is true, and ids
    /// are separated by spaces or line ends.
    #[allow(dead_code, reason = "a build without the console reads no forms")]
    pub fn from_form(
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, (String, String)> {
        const BOXES: [&str; 5] = ["dead", "pending", "route", "all", "dry_run"];
        let mut members = serde_json::Map::new();
        for (name, value) in fields {
            if value.is_empty() {
                continue;
            }
            let value: serde_json::Value = match name.as_str() {
                "ids" => value.split_ascii_whitespace().collect(),
                name if BOXES.contains(&name) => (value != "false").into(),
                _ => value.into(),
            };
            // Of two values neither is meant for sure.
            if members.insert(name.clone(), value).is_some() {
                return Err((name, "expected once".to_owned()));
            }
        }
        serde_path_to_error::deserialize(serde_json::Value::Object(members)).map_err(|error| {
            let member = error.path().to_string();
            (member, error.into_inner().to_string())
        })
    }

    /// The destination that it names and that need not be configured.
    pub fn named(&self) -> Option<&str> {
        self.from.as_deref().or(self.destination.as_deref())
    }

    /// Whether it narrows the choice. The end of a time alone doesn't: it is the whole past.
    pub fn has_filter(&self) -> bool {
        self.destination.is_some()
            || self.source.is_some()
            || self.event_type.is_some()
            || self.since.is_some()
    }

    /// Whether it says at all what it is about.
    fn has_subject(&self) -> bool {
        let is_of_events = self.to.is_some() || self.route;
        !self.ids.is_empty()
            || self.has_filter()
            || is_of_events
            || self.all
            || self.dead
            || self.pending
            || self.status.is_some()
            || self.reason.is_some()
            || self.until.is_some()
    }

    /// Refuses a request that contradicts itself, or doesn't say what it is about. Returns its
    /// kind, and the states of the deliveries that are meant.
    pub fn check(&self, spelling: Spelling) -> Result<(OperationKind, StateSet), Invalid> {
        let Some(kind) = self.kind else {
            let names = OperationKind::ALL.map(OperationKind::name).join(", ");
            return Err(Invalid::usage("kind", format!("expected one of {names}")));
        };
        self.refuse_empty_texts(spelling)?;
        self.refuse_members_of_other_kinds(kind, spelling)?;
        self.refuse_pairs(spelling)?;
        self.refuse_filters_beside_ids(spelling)?;
        if !self.has_subject() {
            let [destination, status, all] =
                ["destination", "status", "all"].map(|member| spelling.of(member));
            let ids = match spelling {
                Spelling::Flags => "the <ID> of a relay or an event, ",
                Spelling::Members => "",
            };
            return Err(Invalid::usage(
                "all",
                format!(
                    "expected {ids}a filter such as {destination} or {status}, or {all} for \
                     everything"
                ),
            ));
        }
        let states = self.states(kind, spelling)?;
        let is_of_delivered = kind == OperationKind::Replay
            && self.status.is_some()
            && !(self.to.is_some() || self.route)
            && states.holds(DeliveryState::Delivered);
        if is_of_delivered && self.ids.is_empty() && !self.has_filter() && !self.all {
            let filters = ["source", "destination", "type", "since"].map(|name| spelling.of(name));
            return Err(Invalid::unfit(
                "all",
                format!(
                    "replay {} delivered sends all stored events once more: expected a filter \
                     ({}), or {}",
                    spelling.of("status"),
                    filters.join(", "),
                    spelling.of("all")
                ),
            ));
        }
        Ok((kind, states))
    }

    /// Refuses an empty text, which a shell makes of a variable that isn't set: as a filter it may
    /// match everything.
    fn refuse_empty_texts(&self, spelling: Spelling) -> Result<(), Invalid> {
        let texts = [
            ("destination", &self.destination),
            ("source", &self.source),
            ("type", &self.event_type),
            ("reason", &self.reason),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let is_empty = |text: &Option<String>| text.as_deref() == Some("");
        match texts.into_iter().find(|(_, text)| is_empty(text)) {
            Some((member, _)) => {
                let name = spelling.of(member);
                let problem = format!("{name} is empty: expected a text, or no {name}");
                Err(Invalid::usage(member, problem))
            }
            None => Ok(()),
        }
    }

    fn refuse_members_of_other_kinds(
        &self,
        kind: OperationKind,
        spelling: Spelling,
    ) -> Result<(), Invalid> {
        use OperationKind::{Discard, Replay, Reroute};
        let members: [(&'static str, bool, &[OperationKind]); 5] = [
            ("route", self.route, &[Replay]),
            ("to", self.to.is_some(), &[Replay, Reroute]),
            ("from", self.from.is_some(), &[Reroute]),
            ("dead", self.dead, &[Replay, Discard]),
            ("pending", self.pending, &[Discard]),
        ];
        for (member, is_given, kinds) in members {
            if is_given && !kinds.contains(&kind) {
                let of = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>();
                return Err(Invalid::usage(
                    member,
                    format!(
                        "{} is of {}, not of {}",
                        spelling.of(member),
                        of.join(" and "),
                        kind.name()
                    ),
                ));
            }
        }
        if kind != Reroute {
            return Ok(());
        }
        if self.destination.is_some() {
            return Err(Invalid::usage(
                "destination",
                format!(
                    "{} is no filter here: {} names the destination",
                    spelling.of("destination"),
                    spelling.of("from")
                ),
            ));
        }
        for (member, is_given) in [("from", self.from.is_some()), ("to", self.to.is_some())] {
            if !is_given {
                return Err(Invalid::usage(
                    member,
                    format!("{}: expected a destination", spelling.of(member)),
                ));
            }
        }
        Ok(())
    }

    /// Refuses members that exclude each other.
    fn refuse_pairs(&self, spelling: Spelling) -> Result<(), Invalid> {
        let pairs = [
            ("route", self.route, "to", self.to.is_some()),
            ("dead", self.dead, "status", self.status.is_some()),
            ("dead", self.dead, "pending", self.pending),
            ("pending", self.pending, "status", self.status.is_some()),
        ];
        for (one, has_one, other, has_other) in pairs {
            if has_one && has_other {
                let (one_name, other) = (spelling.of(one), spelling.of(other));
                return Err(Invalid::usage(
                    one,
                    format!("{one_name} and {other} exclude each other: expected either"),
                ));
            }
        }
        Ok(())
    }

    /// Refuses filters beside ids, which say already what is meant. Of several destinations one may
    /// be named.
    fn refuse_filters_beside_ids(&self, spelling: Spelling) -> Result<(), Invalid> {
        let filters = [
            ("source", self.source.is_some()),
            ("type", self.event_type.is_some()),
            ("reason", self.reason.is_some()),
            ("since", self.since.is_some()),
            ("until", self.until.is_some()),
            ("all", self.all),
        ];
        let given = filters.iter().find(|(_, is_given)| *is_given);
        match given {
            Some((name, _)) if !self.ids.is_empty() => Err(Invalid::usage(
                name,
                format!(
                    "{} selects among many, and an {} names one: expected either",
                    spelling.of(name),
                    match spelling {
                        Spelling::Flags => "<ID>",
                        Spelling::Members => "id",
                    }
                ),
            )),
            _ => Ok(()),
        }
    }

    fn states(&self, kind: OperationKind, spelling: Spelling) -> Result<StateSet, Invalid> {
        let is_of_events = kind == OperationKind::Replay && (self.to.is_some() || self.route);
        let (expected, why) = if is_of_events && !self.dead {
            (StateSet::ANY, "")
        } else {
            kind.states()
        };
        if self.pending {
            return Ok(StateSet::WAITING);
        }
        let Some(state) = self.status else {
            return Ok(match kind {
                OperationKind::Replay if is_of_events && !self.dead => StateSet::ANY,
                OperationKind::Replay | OperationKind::Discard => StateSet::DEAD_LETTERED,
                OperationKind::Retry | OperationKind::Reroute => StateSet::WAITING,
                OperationKind::Erase => StateSet::ANY,
            });
        };
        if expected.holds(state) {
            return Ok(StateSet::of(state));
        }
        let names = DeliveryState::ALL.into_iter();
        let names = names.filter(|state| expected.holds(*state));
        let names: Vec<_> = names.map(DeliveryState::name).collect();
        Err(Invalid::usage(
            "status",
            format!(
                "{} {state}: expected one of {}: {why}",
                spelling.of("status"),
                names.join(", ")
            ),
        ))
    }

    /// The operation that is meant.
    pub fn build(&self, scope: &Scope<'_>) -> Result<NewBulk, Invalid> {
        let (kind, states) = self.check(scope.spelling)?;
        let filter = self.filter(states, scope)?;
        let to = self.to.as_deref();
        let to = to
            .map(|to| configured(scope.config, "to", to))
            .transpose()?;
        Ok(match (kind, to) {
            (OperationKind::Replay, Some(to)) => NewBulk::send_to(to, filter),
            (OperationKind::Replay, None) if self.route => NewBulk::route(filter),
            (OperationKind::Replay, None) => NewBulk::replay(filter),
            (OperationKind::Retry, _) => NewBulk::retry(filter),
            (OperationKind::Discard, _) => NewBulk::discard(filter),
            (OperationKind::Erase, _) => NewBulk::erase(filter),
            (OperationKind::Reroute, to) => {
                let from = self.from.as_deref().unwrap_or_default();
                let from = known(scope.config, "from", from, scope.is_stored)?;
                let to = to.unwrap_or_default();
                if from == to {
                    return Err(Invalid::unfit(
                        "to",
                        format!(
                            "{} and {} are both {to}: expected two destinations",
                            scope.spelling.of("from"),
                            scope.spelling.of("to")
                        ),
                    ));
                }
                NewBulk::reroute(from, to, filter)
            }
        })
    }

    fn filter(&self, states: StateSet, scope: &Scope<'_>) -> Result<BulkFilter, Invalid> {
        let destination = self.destination.as_deref();
        let destination = destination
            .map(|name| known(scope.config, "destination", name, scope.is_stored))
            .transpose()?;
        let time = |moment: Option<Moment>, unset| {
            moment.map_or(Timestamp::from_millis(unset), |moment| {
                moment.when(scope.now)
            })
        };
        let filter = BulkFilter {
            ids: self.ids.clone(),
            destination,
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            reason: self.reason.clone(),
            since: time(self.since, 0),
            until: time(self.until, i64::MAX),
            ..BulkFilter::of(states)
        };
        Ok(filter.before(scope.now))
    }
}

#[cfg(test)]
mod tests;
