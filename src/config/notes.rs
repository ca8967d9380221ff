//! Settings that are allowed and that an operator should know the price of. `relay check` prints
//! them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ::http::HeaderName;

use crate::config::sections::{Acme, EventTypeAt, IdempotencyKeyAt, Source, Verify};
use crate::config::settings::Config;
use crate::model::request::{JsonPointer, Part, Template};

impl Config {
    /// One line for each such setting, that begins with its key.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.network_notes();
        for (name, source) in &self.sources {
            let key = format!("sources.{name}");
            if source.verify_any.len() > 1 {
                notes.push(format!(
                    "{key}.verify_any: as weak as its weakest scheme, since one is enough"
                ));
            }
            notes.extend(idle_routes(&key, source));
            notes.extend(self.lost_orders(&key, source));
            let schemes = source.placed_schemes();
            notes.extend(forgeable_routing(&key, source, &schemes));
            let window = self.source_window(source);
            for (place, scheme) in &schemes {
                notes.extend(replayable(&format!("{key}.{place}"), scheme, window));
                notes.extend(unprotected_body(&format!("{key}.{place}"), scheme));
                if name == "*" {
                    notes.extend(any_name(&format!("{key}.{place}"), scheme));
                }
                notes.extend(malleable_key(&key, source, scheme));
                notes.extend(malleable_body(&key, source, scheme));
                notes.extend(unsigned_key(&key, source, scheme));
            }
            if schemes.iter().any(|(_, scheme)| has_time(scheme)) {
                notes.extend(self.unsigned_destinations(&key, source));
            }
        }
        notes
    }

    /// The notes about the network and about keys, which a start logs, too: others may profit from
    /// these settings.
    pub(crate) fn network_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.delivery.proxy_adhoc {
            notes.push(
                "delivery.proxy_adhoc: the proxy resolves the names of ad hoc URLs, and relay \
                 checks only those that are addresses: the proxy has to refuse private networks"
                    .to_owned(),
            );
        }
        if let Some(listen) = self.admin.listen
            && !listen.ip().to_canonical().is_loopback()
            && self.admin.tls.is_none()
        {
            notes.push(format!(
                "admin.listen: {listen} is off loopback and has no TLS, so that tokens cross the \
                 network in plain text: set [admin.tls], or keep the network private"
            ));
        }
        if let Some(port) = self.server.acme.as_ref().and_then(Acme::unusual_port) {
            notes.push(format!(
                "server.acme.external_port: public authorities check names at port 443 alone, and \
                 it is {port}"
            ));
        }
        let listeners = [("server", &self.server.tls), ("admin", &self.admin.tls)];
        for (listener, tls) in listeners {
            let path = tls.as_ref().map(|tls| tls.key_file.as_path());
            notes.extend(
                path.and_then(|path| readable_key(&format!("{listener}.tls.key_file"), path)),
            );
        }
        for (name, to) in &self.destinations {
            let path = to.client_key_file.as_deref();
            let key = || format!("destinations.{name}.client_key_file");
            notes.extend(path.and_then(|path| readable_key(&key(), path)));
        }
        notes
    }

    /// Destinations that get the provider's own signature, which expires.
    fn unsigned_destinations(&self, key: &str, source: &Source) -> Option<String> {
        let mut names = source.all_destinations().filter(|name| {
            let destination = self.destinations.get(*name);
            destination.is_some_and(|to| to.secrets.is_empty())
        });
        let name = names.next()?;
        Some(format!(
            "{key}: destinations.{name} has no secrets, and gets the provider's signature: after \
             its tolerance, five minutes as a rule, it is worth nothing, and a receiver's 400 is a \
             dead letter. With secrets each attempt is signed anew"
        ))
    }

    /// Destinations in an order by a header that goes with the request: it is known at the
    /// acceptance, and not later.
    fn lost_orders(&self, key: &str, source: &Source) -> Vec<String> {
        let ordered = source.all_destinations().filter_map(|name| {
            let header = self
                .destinations
                .get(name)?
                .ordering
                .as_ref()?
                .header
                .as_ref()?;
            let is_lost = !source.keeps(&HeaderName::try_from(header.as_str()).ok()?);
            is_lost.then(|| {
                format!(
                    "{key}: destinations.{name}.ordering.header: {header:?} is not kept with an \
                     event: one that is sent there later, by a replay or a reroute, has no order"
                )
            })
        });
        ordered.collect()
    }
}

/// The file of a private key that every user of the machine can read.
fn readable_key(key: &str, path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        format!(
            "{key}: \"{}\" has mode {mode:04o}, so that every user of this machine can get at the \
             key: expected 0600, or 0640",
            path.display()
        )
    })
}

/// Routes that lead to no destination which doesn't get every event anyway.
fn idle_routes(key: &str, source: &Source) -> impl Iterator<Item = String> {
    let routes = source.routes.iter().enumerate();
    let idle = routes.filter(|(_, route)| {
        let mut names = route.to.iter();
        names.all(|name| source.destinations.contains(name))
    });
    idle.map(move |(at, _)| {
        format!("{key}.routes[{at}]: adds nothing: {key}.destinations has all that it leads to")
    })
}

/// Routes that look at a header, or at a type from a header, which some signature does not cover.
fn forgeable_routing(key: &str, source: &Source, schemes: &[(String, Verify)]) -> Option<String> {
    let routes = || source.routes.iter().map(|route| &route.when);
    let type_header = match &source.event_type {
        Some(EventTypeAt::Header(name)) => {
            Some(name).filter(|_| routes().any(|r| r.types.is_some()))
        }
        _ => None,
    };
    let names = routes()
        .flat_map(|when| when.headers.keys())
        .chain(type_header);
    let names: BTreeMap<String, &String> = names
        .map(|name| (name.to_ascii_lowercase(), name))
        .filter(|(lower, _)| schemes.iter().any(|(_, scheme)| leaves_open(scheme, lower)))
        .collect();
    let names: Vec<&str> = names.into_values().map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{key}.routes: the signature does not cover {}: whoever captured a request can have it \
             routed otherwise",
            names.join(", ")
        )
    })
}

/// Whether a scheme signs, and leaves out this header. Its name is in lower case.
fn leaves_open(scheme: &Verify, name: &str) -> bool {
    if let Verify::StandardWebhooks(_) = scheme {
        let signed = [
            "webhook-id",
            "webhook-timestamp",
            "svix-id",
            "svix-timestamp",
        ];
        return !signed.contains(&name);
    }
    scheme.signed_request().is_some_and(|request| {
        let timestamp_header = request.timestamp_header.as_deref();
        let is_timestamp = timestamp_header.is_some_and(|other| other.eq_ignore_ascii_case(name));
        let part = HeaderName::try_from(name).ok().map(Part::Header);
        let is_signed_time = is_timestamp && request.signed.has(&Part::Timestamp);
        let is_signed = part.is_some_and(|part| request.signed.has(&part));
        !(is_signed || is_signed_time)
    })
}

/// A scheme that leaves the body open to changes.
fn unprotected_body(key: &str, scheme: &Verify) -> Option<String> {
    let is_protected = match scheme {
        Verify::StandardWebhooks(_) => true,
        Verify::Token(_) | Verify::Basic(_) => false,
        Verify::Hmac(_) | Verify::PublicKey(_) => scheme
            .signed_request()
            .is_some_and(|request| request.covers_body()),
    };
    (!is_protected).then(|| {
        format!(
            "{key}: the body is not protected by the signature: a condition in require closes \
             the parts that matter"
        )
    })
}

/// A signature that is valid for longer than its event's key is known.
fn replayable(key: &str, scheme: &Verify, window: Duration) -> Option<String> {
    (tolerance(scheme)? > window).then(|| {
        format!(
            "{key}.tolerance: longer than the idempotency window: within it a captured request \
             can be sent again, and is a new event"
        )
    })
}

/// A signature of the catch-all that is valid for every name.
fn any_name(key: &str, scheme: &Verify) -> Option<String> {
    let is_bound = match scheme {
        Verify::StandardWebhooks(_) => false,
        // The secret itself comes with the request.
        Verify::Token(_) | Verify::Basic(_) => true,
        Verify::Hmac(_) | Verify::PublicKey(_) => scheme.signed_request().is_some_and(|request| {
            let places = [Part::Path, Part::Url];
            places.iter().any(|part| request.signed.has(part))
        }),
    };
    (!is_bound).then(|| {
        format!(
            "{key}: the signature does not cover the source's name: a captured request can be \
             sent again under another name, and is a new event"
        )
    })
}

/// An idempotency key that anybody can write otherwise without breaking the signature.
fn malleable_key(key: &str, source: &Source, scheme: &Verify) -> Option<String> {
    let places = signature_places(scheme);
    let holds_signature = |part: &Part| places.contains(part);
    let header = |name: &String| HeaderName::try_from(name.as_str()).map(Part::Header);
    let is_carrier = |name: &&String| header(name).is_ok_and(|part| holds_signature(&part));
    let mut names = source.idempotency.places().iter().filter_map(|place| {
        let (name, is_signature) = match place {
            IdempotencyKeyAt::Header(name) => return Some(name).filter(is_carrier),
            IdempotencyKeyAt::Headers(names) => return names.iter().find(is_carrier),
            IdempotencyKeyAt::JsonPointer(text) => {
                let pointer = JsonPointer::parse(text)?;
                (text, holds_signature(&Part::Json(pointer)))
            }
            IdempotencyKeyAt::Query(name) => {
                (name, holds_signature(&Part::QueryField(name.clone())))
            }
            IdempotencyKeyAt::Form(name) => (name, holds_signature(&Part::FormField(name.clone()))),
            IdempotencyKeyAt::None | IdempotencyKeyAt::Body | IdempotencyKeyAt::FirstOf(_) => {
                return None;
            }
        };
        is_signature.then_some(name)
    });
    let name = names.next()?;
    Some(format!(
        "{key}.idempotency: {name} carries the signature, whose spelling anybody can change \
         (case, padding): a copy of a request would be a new event"
    ))
}

/// The bytes of a body as the key, of which anybody can send others under the same signature.
fn malleable_body(key: &str, source: &Source, scheme: &Verify) -> Option<String> {
    if !source
        .idempotency
        .places()
        .contains(&IdempotencyKeyAt::Body)
    {
        return None;
    }
    let request = scheme.signed_request();
    let is_signed = request.is_some() || matches!(scheme, Verify::StandardWebhooks(_));
    let has = |part: &Part| {
        request
            .as_ref()
            .is_some_and(|request| request.signed.has(part))
    };
    let has_fields = has(&Part::FormSorted) && !has(&Part::Body) && !has(&Part::BodySha256);
    let reason = if source.decode.is_some() && is_signed {
        "the signature covers what was compressed, and anybody can compress it otherwise"
    } else if has_fields {
        "the signature covers the fields of a form, and anybody can change their order and encoding"
    } else {
        return None;
    };
    Some(format!(
        "{key}.idempotency: \"body\": {reason}: a copy of a request would be a new event"
    ))
}

/// An idempotency key in a part of the body that the signature leaves out.
fn unsigned_key(key: &str, source: &Source, scheme: &Verify) -> Option<String> {
    let request = scheme.signed_request()?;
    if request.covers_body() {
        return None;
    }
    let signatures = signature_places(scheme);
    let mut pointers = source.idempotency.places().iter().filter_map(|place| {
        let IdempotencyKeyAt::JsonPointer(text) = place else {
            return None;
        };
        let part = Part::Json(JsonPointer::parse(text)?);
        let is_known = request.signed.has(&part) || signatures.contains(&part);
        (!is_known).then_some(text)
    });
    let text = pointers.next()?;
    Some(format!(
        "{key}.idempotency: the signature does not cover {text}: whoever captured a request can \
         send it with the key of an event to come, which is then a duplicate"
    ))
}

/// The parts of a request that hold a scheme's signatures.
fn signature_places(scheme: &Verify) -> Vec<Part> {
    let header = |name: &str| HeaderName::try_from(name).ok().map(Part::Header);
    if let Verify::StandardWebhooks(_) = scheme {
        let headers = ["webhook-signature", "svix-signature"];
        return headers.into_iter().filter_map(header).collect();
    }
    let Some(request) = scheme.signed_request() else {
        return Vec::new();
    };
    let headers = request.headers.iter().filter_map(|name| header(name));
    let others = request.signature.iter().flat_map(Template::all_parts);
    headers.chain(others.cloned()).collect()
}

fn has_time(scheme: &Verify) -> bool {
    tolerance(scheme).is_some()
}

/// The longest age of a request that verifies; none if its time isn't looked at.
fn tolerance(scheme: &Verify) -> Option<Duration> {
    if let Verify::StandardWebhooks(scheme) = scheme {
        return Some(scheme.tolerance);
    }
    let request = scheme.signed_request()?;
    request.has_timestamp().then_some(request.tolerance)
}
