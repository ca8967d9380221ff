"""Whether a report of schemathesis left anything out, which its exit code does not tell."""

import json
import sys

report = json.load(open(sys.argv[1]))
phases = sys.argv[2].split(",")
operations = report["operations"]
assert report["complete"], report["stop_reason"]
assert operations["total"] == operations["selected"] == operations["tested"] > 0, operations
assert operations["skipped"] == operations["errored"] == 0, operations
statuses = {name: phase["status"] for name, phase in report["phases"].items()}
assert all(statuses[phase] == "success" for phase in phases), statuses
assert not any(report["warnings"].values()), report["warnings"]
