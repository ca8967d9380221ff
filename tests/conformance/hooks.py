"""What the test's configuration decides, and the document leaves to the operator."""

import functools
import json
import os
import re
import time
import urllib.request

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # An answer that doesn't end: tests/it/tails.rs reads it.
    raw_schema["paths"].pop("/api/tail", None)
    if "/v1/relays" not in raw_schema["paths"]:
        return
    # Here every source takes its key from this header; elsewhere it may be in another place.
    raw_schema["components"]["parameters"]["WebhookIdempotencyKey"]["required"] = True
    # The contract is frozen: nothing answers with a member that the document doesn't name.
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    # An empty page has no first relay, which schemathesis takes for a failure of the link.
    del raw_schema["paths"]["/v1/relays"]["get"]["responses"]["200"]["links"]["firstRelay"]


@schemathesis.hook("before_call").apply_to(operation_id="acceptWebhook")
def send_other_than_json_where_it_is_taken(context, case, kwargs):
    is_valid = case.meta.generation.mode.is_positive
    if is_valid and case.media_type != "application/json":
        case.path_parameters["source"] = "anything"


@schemathesis.hook("before_call").apply_to(operation_id="createRelay")
def lead_nowhere(context, case, kwargs):
    # A build that delivers would dial the made-up names, and some exist.
    match case.body:
        case {"destination": {"url": str(url)} as destination} if ".invalid" not in url:
            destination["url"] = re.sub(r"(//[^/?:]+)", r"\1.invalid", url, count=1)


@functools.cache
def stored_id():
    # The run against openapi.yaml has stored some.
    with urllib.request.urlopen(os.environ["ADMIN_URL"] + "/api/deliveries?limit=1") as answer:
        return json.load(answer)["items"][0]["id"]


@functools.cache
def operation_id():
    request = urllib.request.Request(
        os.environ["ADMIN_URL"] + "/api/operations",
        data=b'{"kind": "retry", "all": true}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]


def name_what_exists(context, case, kwargs):
    # The document can't know the names and ids of a configuration.
    if case.meta.generation.mode.is_positive:
        is_operation = case.path.startswith("/api/operations")
        id = operation_id() if is_operation else stored_id()
        for parameter, value in (("id", id), ("name", "nobody")):
            if parameter in case.path_parameters:
                case.path_parameters[parameter] = value


for operation in (
    "getEvent",
    "getPayload",
    "getDestination",
    "pauseDestination",
    "resumeDestination",
    "probeDestination",
    "getOperation",
    "cancelOperation",
):
    schemathesis.hook("before_call").apply_to(operation_id=operation)(name_what_exists)


last_ping = 0.0


@schemathesis.hook("before_call").apply_to(operation_id="pingDestination")
def ping_once_a_second(context, case, kwargs):
    # Others get a name that is unknown, since more pings are refused.
    global last_ping
    if case.meta.generation.mode.is_positive:
        name = "unknown"
        if time.monotonic() > last_ping + 1.5:
            last_ping = time.monotonic()
            name = "nobody"
        # Cases may share their parameters.
        case.path_parameters = {**case.path_parameters, "name": name}


@schemathesis.hook("before_call").apply_to(operation_id="listDeliveries")
def ask_for_no_destination_of_unrouted_events(context, case, kwargs):
    query = case.query or {}
    if case.meta.generation.mode.is_positive and query.get("status") == "unrouted":
        case.query = {name: value for name, value in query.items() if name != "destination"}


@schemathesis.hook("before_call").apply_to(operation_id="createOperation")
def ask_for_something_that_can_be_done(context, case, kwargs):
    # The document can't say which members exclude each other, or know names and ids.
    if not case.meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return
    kept = ("kind", "source", "type", "reason", "since", "until", "dry_run")
    body = {member: case.body[member] for member in kept if member in case.body}
    body |= {"all": True}
    if body["kind"] == "reroute":
        body |= {"from": "https://example.invalid", "to": "nobody"}
    if body["kind"] == "erase":
        # The payloads are asked for.
        body |= {"dry_run": True}
    case.body = body


@schemathesis.hook("before_call").apply_to(operation_id="getRollups")
def ask_for_a_time_that_has_passed(context, case, kwargs):
    # The document can't say that a time begins before it ends.
    if case.meta.generation.mode.is_positive:
        case.query = {**(case.query or {}), "from": "2h", "to": "1m"}
