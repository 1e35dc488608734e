"""Hooks: a receiver and its endpoint. Steers the receivers' process, and adds, rotates and removes endpoints by command."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from relay.sign import new_secret
from tests.cluster import free_port
from tests.torture.operating import ROOT, rowhook, understands
from tests.torture.records import Secret

TIMEOUT = "2s"
PATIENT = ",".join(["200ms", "500ms", "1s", "2s"] + ["3s"] * 40)  # outlasts any bad mood
BRIEF = "200ms,400ms"  # makes dead letters


@dataclass(frozen=True, slots=True)
class Kind:
    """What a hook wants, and how patient it is."""

    name: str
    events: str = "*"
    tenant: str | None = None
    retry: str = PATIENT
    ordered: bool = False
    filter: str | None = None

    @property
    def tries(self) -> int:
        return 1 + len(self.retry.split(","))


KINDS = (
    Kind("steady"),
    Kind("moody"),
    Kind("brief", "expense.*,stock.*", retry=BRIEF),
    Kind("tenant", "expense.*,account.*,note.*", tenant="t1"),
    Kind("ordered", "stock.*,seat.*,expense.*", ordered=True),
    Kind("filtered", "expense.*", filter="$.data.amount > 5000"),
    Kind("watch", "endpoint.disabled"),
)
GUESTS = tuple(Kind(f"guest{n}", "expense.*,visit.*,note.*") for n in (1, 2, 3))
MOODY = ("moody", "brief", "tenant", "ordered")  # those that have bad days
GONE = ("moody", "brief")  # those that say 410 now and then


@dataclass(slots=True)
class Hook:
    kind: Kind
    port: int
    endpoint: str = ""
    secrets: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.kind.name}"


class Hooks:
    """All of them; the receivers' process runs while this is entered."""

    def __init__(self, dsn: str, journal: Path) -> None:
        self.dsn = dsn
        self.journal = journal
        self.by_name = {kind.name: Hook(kind, free_port()) for kind in KINDS + GUESTS}
        self.secrets: list[Secret] = []
        self.discarded: list[str] = []
        self.has_order = understands("endpoint", "add", option="--ordered")
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.torture.receivers", str(self.journal)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for hook in self.by_name.values():
            self._order(hook, port=hook.port)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def mood(self, name: str, mood: str) -> None:
        self._order(self.by_name[name], mood=mood)

    def add(self, name: str) -> None:
        """Its receiver knows the secret before the endpoint is there."""
        hook = self.by_name[name]
        secret = self._new_secret(hook)
        arguments = ["endpoint", "add", hook.url, "--events", hook.kind.events, "--retry", hook.kind.retry, "--timeout", TIMEOUT]
        if hook.kind.tenant:
            arguments += ["--tenant", hook.kind.tenant]
        if hook.kind.filter:
            arguments += ["--filter", hook.kind.filter]
        if hook.kind.ordered and self.has_order:
            arguments += ["--ordered"]
        hook.endpoint = rowhook(self.dsn, *arguments, "--secret", "-", stdin=secret)["id"]

    def rotate(self, name: str, overlap: float) -> None:
        """The old secret signs until the overlap ends; after that only the new one does."""
        hook = self.by_name[name]
        before = self.secrets.index(next(s for s in reversed(self.secrets) if s.hook == name))
        secret = self._new_secret(hook)
        rowhook(self.dsn, "endpoint", "rotate", hook.endpoint, "--overlap", f"{overlap:.0f}s", "--secret", "-", stdin=secret)
        old = self.secrets[before]
        self.secrets[before] = Secret(old.hook, old.number, old.begins, time.time() + overlap)

    def remove(self, name: str) -> None:
        hook = self.by_name[name]
        rowhook(self.dsn, "endpoint", "remove", hook.endpoint)
        hook.endpoint = ""

    def command(self, name: str, *arguments: str) -> None:
        """`endpoint ARGUMENTS… ID`."""
        if "--discard" in arguments:
            self.discarded.append(self.by_name[name].endpoint)
        rowhook(self.dsn, "endpoint", *arguments, self.by_name[name].endpoint)

    def resume_all(self) -> None:
        """Everybody is well, and every endpoint active."""
        for hook in self.by_name.values():
            self._order(hook, mood="ok")
        for row in rowhook(self.dsn, "endpoint", "list"):
            if row["state"] != "active":
                rowhook(self.dsn, "endpoint", "resume", row["id"])

    def _new_secret(self, hook: Hook) -> str:
        secret = new_secret()
        hook.secrets.append(secret)
        self.secrets.append(Secret(hook.kind.name, len(hook.secrets) - 1, time.time()))
        self._order(hook, secrets=hook.secrets)
        return secret

    def _order(self, hook: Hook, **order: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps({"hook": hook.kind.name, **order}) + "\n")
            self._process.stdin.flush()
            if self._process.stdout.readline() != "done\n":
                raise RuntimeError("the receivers have ended")


def guests() -> Iterator[str]:
    """Their names, again and again."""
    return itertools.cycle(kind.name for kind in GUESTS)
