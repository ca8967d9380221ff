"""Whether a report of schemathesis left anything out, which its exit code does not tell."""

import json
import sys

report = json.load(open(sys.argv[1]))
phases = sys.argv[2].split(",")
operations = report["operations"]
assert report["complete"], report["stop_reason"]
assert operations["total"] == operations["selected"] == operations["tested"] > 0, operations
assert operations["skipped"] == operations["errored"] == 0, operations
assert len(report["phases"]) == len(phases), report["phases"]
assert all(phase["status"] == "success" for phase in report["phases"].values()), report["phases"]
assert not any(report["warnings"].values()), report["warnings"]
