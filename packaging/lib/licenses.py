#!/usr/bin/env python3
"""Prints names, versions, licenses and license texts of the crates that a binary is linked with.

    licenses.py --target x86_64-unknown-linux-musl --features delivery >THIRD-PARTY.txt

Their licenses ask for it: a statically linked binary is a copy of them.
"""

import argparse
import collections
import json
import os
import subprocess

# Names of files that hold a license or a notice.
BEGINNINGS = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")

# Linked in, and no crate of its own.
OTHERS = """\
SQLite (in libsqlite3-sys): public domain.

musl libc: MIT. Copyright © 2005-2020 Rich Felker, et al. Its permission notice is that of MIT below.

The standard library of Rust: MIT OR Apache-2.0. Copyright the Rust Project contributors.
"""


def linked(target, features):
    """The packages that end up in the binary: neither build scripts' nor macros' own."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}"]
    command += ["--features", features]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, waiting = {root}, [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            name = dependency["pkg"]
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            is_macro = any("proc-macro" in t["kind"] for t in packages[name]["targets"])
            # A kind of null is a normal dependency.
            if None in kinds and not is_macro and name not in seen:
                seen.add(name)
                waiting.append(name)
    found = [packages[name] for name in seen - {root}]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = os.path.dirname(package["manifest_path"])
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.upper().startswith(BEGINNINGS) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield "\n".join(line.rstrip() for line in file.read().strip().splitlines())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--features", required=True)
    flags = parser.parse_args()
    packages = linked(flags.target, flags.features)
    users = collections.OrderedDict()
    print("relay is linked with these libraries of others:\n")
    for package in packages:
        print(f"{package['name']} {package['version']}: {package['license']}")
        for text in texts(package):
            users.setdefault(text, []).append(package["name"])
    print(f"\n{OTHERS}")
    for text, names in users.items():
        print(f"{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n\n{text}\n")


if __name__ == "__main__":
    main()
