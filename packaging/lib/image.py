#!/usr/bin/env python3
"""Makes an OCI image from a Containerfile without a container engine.

Only what a Containerfile FROM scratch without RUN can say is understood; anything else is an error.
The same input gives the same bytes: entries are sorted, owners and times are fixed.

    image.py --containerfile FILE --context DIR --arch amd64 --name relay:0.1.0 --out FILE.oci.tar

The archive is an OCI layout (podman, skopeo, buildah, containerd), and has the manifest that
`docker load` of any age reads.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import sys
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def instructions(text):
    """The instructions of a Containerfile: name and the rest of the line."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def options(rest):
    """The leading --name=value of an instruction, and what follows them."""
    found = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        found[match[1]] = match[2]
        rest = rest[match.end() :]
    return found, rest


def command(name, text):
    """A command in its JSON form: without a shell in the image there is no other."""
    try:
        words = json.loads(text)
    except json.JSONDecodeError:
        sys.exit(f"{name} {text}: expected the form [\"program\", \"argument\"]")
    return words


def nanoseconds(text):
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    if not match:
        sys.exit(f"{text}: expected a duration such as 30s")
    return int(match[1]) * UNITS[match[2]]


def healthcheck(rest):
    found, rest = options(rest)
    name, _, test = rest.partition(" ")
    if name != "CMD":
        sys.exit(f"HEALTHCHECK {rest}: expected CMD")
    check = {"Test": ["CMD", *command("HEALTHCHECK CMD", test.strip())]}
    keys = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    for key, value in found.items():
        if key == "retries":
            check["Retries"] = int(value)
        elif key in keys:
            check[keys[key]] = nanoseconds(value)
        else:
            sys.exit(f"HEALTHCHECK --{key}: not understood")
    return check


class Tree:
    """The files of the layer, by their path in the image."""

    def __init__(self, context):
        self.context = context
        self.entries = {}

    def add(self, source, path, owner):
        status = os.lstat(source)
        entry = tarfile.TarInfo(path)
        entry.mode = status.st_mode & 0o7777
        entry.uid, entry.gid = owner
        if os.path.islink(source):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(source)
        elif os.path.isdir(source):
            entry.type = tarfile.DIRTYPE
        else:
            entry.size = status.st_size
        self.entries[path] = (entry, source)

    def copy(self, rest):
        found, rest = options(rest)
        owner = tuple(int(part) for part in found.pop("chown", "0:0").split(":"))
        if found:
            sys.exit(f"COPY --{next(iter(found))}: not understood")
        *sources, target = shlex.split(rest)
        for source in sources:
            top = os.path.join(self.context, source.rstrip("/"))
            if not os.path.isdir(top):
                name = os.path.basename(top) if target.endswith("/") else ""
                self.add(top, os.path.join(target, name).strip("/"), owner)
                continue
            # As engines do, the content of a directory is copied, and its own mode with it.
            if target.strip("/"):
                self.add(top, target.strip("/"), owner)
            for folder, folders, files in os.walk(top):
                inside = os.path.relpath(folder, top)
                for name in folders + files:
                    path = os.path.normpath(os.path.join(target, inside, name)).strip("/")
                    self.add(os.path.join(folder, name), path, owner)

    def layer(self, epoch):
        """The layer as a tar archive."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(self.entries):
                entry, source = self.entries[path]
                entry.mtime = epoch
                if entry.isreg():
                    with open(source, "rb") as file:
                        archive.addfile(entry, file)
                else:
                    archive.addfile(entry)
        return buffer.getvalue()


def read(containerfile, context):
    """The tree and the configuration that a Containerfile describes."""
    tree, config = Tree(context), {"Env": ["PATH=/usr/bin"], "Labels": {}}
    with open(containerfile, encoding="utf-8") as file:
        text = file.read()
    for name, rest in instructions(text):
        if name == "FROM":
            if rest != "scratch":
                sys.exit(f"FROM {rest}: expected scratch")
        elif name == "COPY":
            tree.copy(rest)
        elif name == "LABEL":
            config["Labels"].update(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "ENV":
            config["Env"].extend(shlex.split(rest))
        elif name == "USER":
            config["User"] = rest
        elif name == "WORKDIR":
            config["WorkingDir"] = rest
        elif name == "VOLUME":
            config["Volumes"] = {path: {} for path in command(name, rest)}
        elif name == "EXPOSE":
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in rest.split()}
        elif name == "STOPSIGNAL":
            config["StopSignal"] = rest
        elif name == "HEALTHCHECK":
            config["Healthcheck"] = healthcheck(rest)
        elif name == "ENTRYPOINT":
            config["Entrypoint"] = command(name, rest)
        elif name == "CMD":
            config["Cmd"] = command(name, rest)
        else:
            sys.exit(f"{name} {rest}: not understood")
    return tree, config


class Layout:
    """An OCI layout in a tar archive."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, media_type, data):
        """Adds a blob. Returns its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, media_type, value):
        return self.blob(media_type, dumps(value))

    def write(self, path, epoch):
        folders = {os.path.dirname(name) for name in self.files} | {"blobs"}
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in sorted(folders - {""} | set(self.files)):
                entry = tarfile.TarInfo(name)
                entry.mtime = epoch
                if name in self.files:
                    entry.mode, entry.size = 0o644, len(self.files[name])
                    archive.addfile(entry, io.BytesIO(self.files[name]))
                else:
                    entry.mode, entry.type = 0o755, tarfile.DIRTYPE
                    archive.addfile(entry)


def dumps(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for option in ("containerfile", "context", "arch", "name", "out"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    flags = parser.parse_args()
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    created = time_text(epoch)

    tree, config = read(flags.containerfile, flags.context)
    config["Labels"].update(pair.split("=", 1) for pair in flags.label)
    config["Labels"]["org.opencontainers.image.created"] = created
    layer = tree.layer(epoch)
    # No file name and no time of its own in the header: the same bytes each time.
    packed = gzip.compress(layer, 9, mtime=0)

    layout = Layout()
    packed_layer = layout.blob(LAYER, packed)
    image = layout.json(
        CONFIG,
        {
            "architecture": flags.arch,
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
            "history": [{"created": created, "created_by": "packaging/container/Containerfile"}],
        },
    )
    manifest = layout.json(
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": image,
            "layers": [packed_layer],
        },
    )
    manifest["platform"] = {"architecture": flags.arch, "os": "linux"}
    tag = flags.name.rpartition(":")[2]
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}
    layout.files["index.json"] = dumps(index)

    def blob_path(descriptor):
        return "blobs/" + descriptor["digest"].replace(":", "/")

    docker = {
        "Config": blob_path(image),
        "RepoTags": [flags.name],
        "Layers": [blob_path(packed_layer)],
    }
    layout.files["manifest.json"] = dumps([docker])
    layout.write(flags.out, epoch)


def time_text(epoch):
    from datetime import datetime, timezone

    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
