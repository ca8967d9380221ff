#!/usr/bin/env python3
"""Sends events to a relay, receives what it delivers, and judges.

    traffic.py first --url URL                     one event: prints the seconds until it arrived
    traffic.py receive                             waits for one event that somebody else sends
    traffic.py load --url URL --rate 500 -- CMD …  runs CMD while events are sent; exits with 1 if an
                                                   event was refused or lost

The receiver listens at 127.0.0.1:9000. Each event has a number, which is its idempotency key too.
"""

import argparse
import asyncio
import collections
import json
import sys
import time
import urllib.parse

# Connections that are kept open; every second event goes through one of them.
KEPT = 8
# An event whose answer was lost is sent again under its key, as a sender does.
TRIES = 6


class Receiver:
    """Counts the deliveries of each event."""

    def __init__(self):
        self.arrived = collections.Counter()
        self.changed = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = head.lower().split(b"content-length:", 1)[1]
                body = await reader.readexactly(int(fields.split(b"\r\n", 1)[0]))
                self.arrived[json.loads(body)["number"]] += 1
                self.changed.set()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def wait_for(self, numbers, seconds):
        """The numbers that have not arrived in that time."""
        deadline = time.monotonic() + seconds
        missing = {number for number in numbers if number not in self.arrived}
        while missing and time.monotonic() < deadline:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                break
            missing = {number for number in missing if number not in self.arrived}
        return missing


class Sender:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.accepted = set()
        self.refused = collections.Counter()
        self.again = 0
        self.slowest = 0.0

    def request(self, number, connection):
        body = json.dumps({"number": number}).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
            f"content-type: application/json\r\nidempotency-key: {number}\r\n"
            f"connection: {connection}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def exchange(self, streams, number, connection):
        """Sends an event. Returns the status, and whether the connection may be used again."""
        reader, writer = streams
        writer.write(self.request(number, connection))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        return int(head.split(b" ", 2)[1]), b"connection: close" not in head

    def note(self, number, status):
        if status == 202:
            self.accepted.add(number)
        else:
            self.refused[str(status)] += 1

    async def send_alone(self, number):
        """An event on a connection of its own: nothing but an answer counts as well."""
        began = time.monotonic()
        try:
            streams = await asyncio.open_connection(self.host, self.port)
            try:
                status, _ = await self.exchange(streams, number, "close")
            finally:
                streams[1].close()
            self.note(number, status)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.refused[type(error).__name__] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def send_kept(self, queue):
        """Events on a connection that is kept open. A server may close one that idles at any time:
        the event is then sent again, and only a connection that can't be made counts as refused."""
        streams = None
        while (number := await queue.get()) is not None:
            began = time.monotonic()
            for _ in range(TRIES):
                try:
                    if streams is None:
                        streams = await asyncio.open_connection(self.host, self.port)
                except OSError as error:
                    self.refused[type(error).__name__] += 1
                    break
                try:
                    status, is_open = await self.exchange(streams, number, "keep-alive")
                    self.note(number, status)
                    if not is_open:
                        streams[1].close()
                        streams = None
                    break
                except (OSError, asyncio.IncompleteReadError):
                    self.again += 1
                    streams[1].close()
                    streams = None
            else:
                self.refused["no answer"] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
        if streams:
            streams[1].close()


async def first(flags):
    receiver, sender = Receiver(), Sender(flags.url)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 9000)
    began = time.monotonic()
    while time.monotonic() < began + 30 and not sender.accepted:
        sender.refused.clear()
        await sender.send_alone(0)
        if not sender.accepted:
            await asyncio.sleep(0.02)
    missing = await receiver.wait_for({0}, 30)
    server.close()
    if missing or not sender.accepted:
        sys.exit(f"not delivered; {dict(sender.refused)}")
    print(f"delivered after {time.monotonic() - began:.2f} s")


async def receive(flags):
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 9000)
    missing = await receiver.wait_for({1}, 120)
    server.close()
    if missing:
        sys.exit("no event arrived within two minutes")


async def load(flags):
    receiver, sender = Receiver(), Sender(flags.url)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 9000, backlog=1024)
    queue = asyncio.Queue()
    kept = [asyncio.create_task(sender.send_kept(queue)) for _ in range(KEPT)]
    # A number that an earlier run used would be a duplicate.
    first = time.time_ns() // 10**6
    alone, sent, began = [], 0, time.monotonic()
    command, ended = None, None
    while True:
        now = time.monotonic()
        if command is None and now > began + flags.before:
            command = asyncio.create_task(asyncio.create_subprocess_exec(*flags.command))
            command = await command
        if command is not None and ended is None and command.returncode is not None:
            ended = now
            print(f"the command took {now - began - flags.before:.1f} s", flush=True)
        if ended is not None and now > ended + flags.after:
            break
        # As many as are due by now: a late turn of this loop doesn't lower the rate.
        while sent < (now - began) * flags.rate:
            sent += 1
            if sent % 2:
                alone.append(asyncio.create_task(sender.send_alone(first + sent)))
            else:
                queue.put_nowait(first + sent)
        await asyncio.sleep(0.002)
    seconds = time.monotonic() - began
    for _ in kept:
        queue.put_nowait(None)
    await asyncio.gather(*alone, *kept)
    lost = await receiver.wait_for(sender.accepted, 60)
    # Repeated deliveries may still be on their way.
    await asyncio.sleep(1)
    server.close()
    twice = sum(1 for count in receiver.arrived.values() if count > 1)
    refused = sum(sender.refused.values())
    print(
        f"sent {sent} at {sent / seconds:.0f}/s, accepted {len(sender.accepted)}, "
        f"refused {refused} {dict(sender.refused) or ''}, lost {len(lost)}, "
        f"delivered twice {twice}, sent again on closed connections {sender.again}, "
        f"slowest answer {sender.slowest:.2f} s"
    )
    if command.returncode:
        sys.exit(f"the command exited with {command.returncode}")
    if lost or (refused and not flags.may_refuse):
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("first")
    one.add_argument("--url", required=True)
    one.set_defaults(run=first)
    other = kinds.add_parser("receive")
    other.set_defaults(run=receive)
    many = kinds.add_parser("load")
    many.add_argument("--url", required=True)
    many.add_argument("--rate", type=int, default=500)
    many.add_argument("--before", type=float, default=3, help="seconds before the command")
    many.add_argument("--after", type=float, default=3, help="seconds after it")
    many.add_argument("--may-refuse", action="store_true", help="only lost events are wrong")
    many.add_argument("command", nargs="+")
    many.set_defaults(run=load)
    flags = parser.parse_args()
    asyncio.run(flags.run(flags))


if __name__ == "__main__":
    main()
