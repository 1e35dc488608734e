"""How many deliveries a second Rowhook makes of a backlog, against job queues on Postgres that post the same bodies.

N events, or jobs, are committed before a worker starts. Time runs from the first request that the receiver sees until all have
come and the database knows that they are done. Rowhook signs, and records every attempt; a peer's handler is one POST and nothing
else, each in the best configuration that it documents (benchmarks/rivals/). Every run has a database of its own, on one server;
rounds go through all in turn. "A thread per delivery" is what an application does that has no queue: it reads no database at all.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import Clock
from benchmarks.drain import Backlog, asked, drain, expenses, settle, temporary
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import ROOT
from benchmarks.rivals import install
from benchmarks.rivals.catalogue import RIVALS, Rival
from benchmarks.rivals.install import MissingError
from benchmarks.server import Server
from benchmarks.sinks import Sink, sink
from benchmarks.workers import workers
from relay.config import Settings

JOBS = {Size.TINY: 200, Size.QUICK: 3_000, Size.NORMAL: 10_000, Size.FULL: 20_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 3, Size.FULL: 5}
PROCESSES = 2  # of Rowhook, and of each peer that can share its queue
BARS = {"aiohttp": Bar("ratio", ">", 1.0), "lean": Bar("ratio", ">", 2.0)}

Once = Callable[[int], float]  # by the round's number, the requests per second


@dataclass(frozen=True, slots=True)
class Place:
    """Where all of them run."""

    server: Server
    receiver: Sink
    bodies: Path
    jobs: int


def run(size: Size, say: Say) -> list[Figure]:
    with Server() as server, sink() as receiver:
        place = Place(server, receiver, server.folder / "bodies.jsonl", JOBS[size])
        place.bodies.write_text("".join(body(number) + "\n" for number in range(place.jobs)))
        ours = {transport: _rowhook(place, transport) for transport in transports()}
        peers, missing = _peers(place, may_install=size > Size.TINY)
        missing += [f"Rowhook with {name} not measured: this relay has no ROWHOOK_TRANSPORT" for name in BARS if name not in ours]
        for line in missing:
            say(line)
        found = _rounds(ROUNDS[size], {**ours, **{rival.name: once for rival, once in peers.items()}}, say)
        return _figures(found, list(ours), list(peers), [f"receiver: {receiver.name}", *missing])


def transports() -> list[str]:
    """Those that this relay has: one without the setting has aiohttp only."""
    settable = any(field.validation_alias == "ROWHOOK_TRANSPORT" for field in Settings.model_fields.values())
    return ["aiohttp", "lean"] if settable else ["aiohttp"]


def body(number: int) -> str:
    """What a peer posts: made like Rowhook's body of such a row, and as long."""
    data = {
        "id": number,
        "user_id": number % 1000,
        "category_id": number % 12,
        "amount": number / 100,
        "currency": "INR",
        "expense_type": "EXPENSE",
        "notes": "coffee and a sandwich on the way to the station, paid in cash",
        "spent_at": "2026-01-15",
        "created_at": "2026-01-15T08:30:00.123456",
    }
    envelope = {
        "id": f"evt_{number:026d}",
        "type": "expense.created",
        "timestamp": "2026-01-15T08:30:00.123456Z",
        "tenant": str(number % 1000),
        "data": data,
    }
    return json.dumps(envelope, separators=(",", ":"))


def _peers(place: Place, may_install: bool) -> tuple[dict[Rival, Once], list[str]]:
    """Those that can run here, and a line for each that can't."""
    found: dict[Rival, Once] = {}
    missing = []
    for rival in RIVALS:
        try:
            found[rival] = _peer(place, rival, rival.runtime(may_install))
        except MissingError as error:
            missing.append(f"{rival.name} not measured: {error}")
    return found, missing


def _rounds(rounds: int, runs: dict[str, Once], say: Say) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(runs[name](number))
            say(f"round {number + 1} of {rounds}: {name} {found[name][-1]:,.0f}/s")
    return found


def _figures(found: dict[str, list[float]], ours: list[str], peers: list[Rival], notes: list[str]) -> list[Figure]:
    figures = []
    for transport in ours:
        for rival in peers:
            values, against = found[transport], found[rival.name]
            note = "" if transport != ours[0] else "; ".join([rival.note, *notes] if rival is peers[0] else [rival.note])
            metric = f"Rowhook with {transport}"
            figures.append(figure("peers", metric, "deliveries/s", values, rival.name, against, BARS[transport], note))
    return figures


def _rowhook(place: Place, transport: str) -> Once:
    fill = expenses(place.receiver.url, place.jobs)
    backlog = Backlog(fill, place.jobs, settings={"ROWHOOK_TRANSPORT": transport}, processes=PROCESSES)
    return lambda number: drain(place.server, place.receiver, f"rowhook_{transport}_{number}", backlog).rate


def _peer(place: Place, rival: Rival, runtime: list[str]) -> Once:
    program = [*runtime, rival.program if runtime[-1] == "-m" else str(install.NODE / rival.program)]
    return _queue(place, rival, program) if rival.unfinished else _from_memory(place, program)


def _queue(place: Place, rival: Rival, program: list[str]) -> Once:
    processes = PROCESSES if rival.shares else 1
    bodies = place.bodies.with_name(f"{rival.name}.jsonl")
    lines = place.bodies.read_text().splitlines(keepends=True)[:: rival.fewer]
    bodies.write_text("".join(lines))

    def once(number: int) -> float:
        with temporary(place.server, f"{rival.name.replace('-', '_')}_{number}", "template0") as name:
            dsn = place.server.dsn(name)
            subprocess.run([*program, "prepare", dsn, str(bodies)], cwd=ROOT, check=True)
            settle(place.server, name)
            clock = Clock(place.receiver, len(lines))
            with workers([*program, "work", dsn, place.receiver.url], processes) as check:
                clock.run(check)
                return clock.rate(lambda: bool(asked(place.server, name, rival.unfinished)))

    return once


def _from_memory(place: Place, program: list[str]) -> Once:
    def once(_number: int) -> float:
        clock = Clock(place.receiver, place.jobs)
        with workers([*program, "work", str(place.bodies), place.receiver.url], 1) as check:
            clock.run(check)
            return clock.rate()

    return once
