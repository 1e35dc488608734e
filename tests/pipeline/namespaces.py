"""Real cuts of a network: a relay in a network namespace of its own, behind routers that can stop forwarding.

    host: Postgres ──── router "db" ────┐
    host: receivers ─── router "hooks" ─┴─ relay

A router that doesn't forward says nothing to either side, as a pulled cable or a firewall that drops. Needs root and iproute2.
The addresses are those that are kept for tests of networks (RFC 2544), so they are nobody's.
"""

from __future__ import annotations

import functools
import os
import random
import secrets
import shutil
import subprocess
import sys
from typing import Self

from tests.pipeline.relays import RelayProcess

NETWORK = "198.18.0.0/15"


@functools.cache
def available() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"rh{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    return made and subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False).returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Wire:
    """From the host to the namespace, through a router of its own; ``host`` is the host's address on it."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._router = f"rh{secrets.token_hex(3)}"
        subnet = f"198.{random.choice((18, 19))}.{random.randrange(1, 255)}"
        self.host, self._up, self._down, self._relay = (f"{subnet}.{n}" for n in (1, 2, 5, 6))
        self._near, self._far = f"{subnet}.0/30", f"{subnet}.4/30"

    def lay(self) -> None:
        router, outer, inner = self._router, f"{self._router}h", f"{self._router}r"
        _ip("netns", "add", router)
        _ip("link", "add", outer, "type", "veth", "peer", "name", "north", "netns", router)
        _ip("-n", self._namespace, "link", "add", inner, "type", "veth", "peer", "name", "south", "netns", router)
        for place, address, device in (
            ([], self.host, outer),
            (["-n", router], self._up, "north"),
            (["-n", router], self._down, "south"),
            (["-n", self._namespace], self._relay, inner),
        ):
            _ip(*place, "address", "add", f"{address}/30", "dev", device)
            _ip(*place, "link", "set", device, "up")
        _ip("route", "add", self._far, "via", self._up)
        _ip("-n", self._namespace, "route", "add", self._near, "via", self._down)
        self.heal()

    def cut(self) -> None:
        self._forward(0)

    def heal(self) -> None:
        self._forward(1)

    def take_up(self) -> None:
        subprocess.run(["ip", "netns", "del", self._router], capture_output=True, check=False)

    def _forward(self, value: int) -> None:
        _ip("netns", "exec", self._router, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/ip_forward")


class Namespace:
    """Where the relay runs, with a wire to the database and one to the receivers; as a context manager."""

    def __init__(self) -> None:
        self.name = f"rh{secrets.token_hex(3)}"
        self.db, self.hooks = Wire(self.name), Wire(self.name)

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self.name)
            _ip("-n", self.name, "link", "set", "lo", "up")
            self.db.lay()
            self.hooks.lay()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.db.take_up()
        self.hooks.take_up()
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class DistantRelay(RelayProcess):
    """A relay in a namespace."""

    def __init__(self, namespace: str, dsn: str, **given: str) -> None:
        super().__init__(dsn, **{"allow_networks": NETWORK, **given})
        self._namespace = namespace

    def command(self) -> list[str]:
        return ["ip", "netns", "exec", self._namespace, sys.executable, "-m", "tests.pipeline.relay_process", self.name]
