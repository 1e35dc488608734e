"""How soon work goes on: after kill -9 of a relay with 500 requests in flight, and after a restart of Postgres.

"Taken up" is by the server's clock: from the moment at which the killed process is gone until the other relay has claimed the
last of the 500. Postgres "is back" at the first connection that it takes, when a writer's event commits at once; deliveries "go
on" when the receiver has that event. A long outage is told apart, because relays try again less and less often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.clock import LOOK_EVERY
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import RelayProcess, program
from benchmarks.server import Server, add_endpoint
from benchmarks.sinks import own_sink

IN_FLIGHT = {Size.TINY: 20, Size.QUICK: 500, Size.NORMAL: 500, Size.FULL: 500}
KILLS = {Size.TINY: 1, Size.QUICK: 2, Size.NORMAL: 10, Size.FULL: 10}
RESTARTS = {Size.TINY: 1, Size.QUICK: 2, Size.NORMAL: 5, Size.FULL: 10}
AWAY = {Size.TINY: (0.0,), Size.QUICK: (0.0, 8.0), Size.NORMAL: (0.0, 15.0), Size.FULL: (0.0, 15.0)}  # seconds
TAKEN_UP, GOES_ON = Bar("value", "<=", 2.0), Bar("value", "<=", 3.0)
WITHIN = 60.0

EMIT = "SELECT count(rowhook.emit('bench.done', json_build_object('n', i))) FROM generate_series(1, %s) AS i"
LEASED = "SELECT count(*) FROM rowhook.delivery WHERE state = 'leased' AND attempts = 1"
KNOW_EACH_OTHER = "SELECT count(*) >= 2 AND min(beat_at) > max(started_at) FROM rowhook.instance WHERE state = 'live'"
NOW = "SELECT clock_timestamp()"
AGAIN = "SELECT count(*), extract(epoch FROM max(leased_at) - %s)::float8 FROM rowhook.delivery WHERE attempts > 1"

Connection = psycopg.Connection[Any]


def run(size: Size, say: Say) -> list[Figure]:
    return [_kills(size, say), *(_restarts(size, away, say) for away in AWAY[size])]


def _kills(size: Size, say: Say) -> Figure:
    values = []
    for number in range(KILLS[size]):
        values.append(_kill(IN_FLIGHT[size]))
        say(f"kill {number + 1} of {KILLS[size]}: taken up after {values[-1]:.2f} s")
    return figure("recovery", f"kill -9 with {IN_FLIGHT[size]} in flight, until another relay has all", "s", values, bar=TAKEN_UP)


def _kill(in_flight: int) -> float:
    """The first relay has all requests out at a receiver that never answers; then the second comes, and the first is killed."""
    with Server() as server, program("sick") as urls:
        database = server.database("recovery")
        dsn, room = server.dsn(database), str(4 * in_flight)
        with server.connect(database) as connection:
            add_endpoint(connection, urls.split()[0])
            with RelayProcess(dsn, ROWHOOK_MAX_IN_FLIGHT=room, ROWHOOK_TIMEOUT="2min") as first:
                connection.execute(EMIT, [in_flight])
                _wait(connection, LEASED, in_flight)
                with RelayProcess(dsn, ROWHOOK_MAX_IN_FLIGHT=room, ROWHOOK_TIMEOUT="2min") as second:
                    _wait(connection, KNOW_EACH_OTHER, True)
                    first.kill()
                    died = _one(connection, NOW)
                    seconds = _taken_up(connection, died, in_flight)
                    second.kill()
                    return seconds


def _taken_up(connection: Connection, died: object, number: int) -> float:
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        row = connection.execute(AGAIN, [died]).fetchone()
        if row and row[0] == number:
            return float(row[1])
        time.sleep(LOOK_EVERY)
    raise RuntimeError("the work of the killed relay was not taken up")


def _restarts(size: Size, away: float, say: Say) -> Figure:
    with Server() as server, own_sink() as receiver:
        database = server.database("recovery")
        with server.connect(database) as connection:
            add_endpoint(connection, receiver.url)
        with RelayProcess(server.dsn(database)):
            values = []
            for number in range(RESTARTS[size]):
                server.stop()
                time.sleep(away)
                server.start()
                values.append(_goes_on(server, database, receiver.count))
                say(f"restart {number + 1} of {RESTARTS[size]}, away for {away:.0f} s: goes on after {values[-1]:.2f} s")
    return figure("recovery", f"Postgres away for {away:.0f} s, until deliveries go on", "s", values, bar=GOES_ON)


def _goes_on(server: Server, database: str, count: Callable[[], int]) -> float:
    before, began = count(), time.monotonic()
    with server.connect(database) as connection:
        connection.execute(EMIT, [1])
    while count() == before:
        if time.monotonic() > began + WITHIN:
            raise RuntimeError("deliveries did not go on after the restart")
        time.sleep(LOOK_EVERY)
    return time.monotonic() - began


def _wait(connection: Connection, question: str, answer: object) -> None:
    deadline = time.monotonic() + WITHIN
    while _one(connection, question) != answer:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not {answer} within {WITHIN:.0f} s: {question}")
        time.sleep(LOOK_EVERY)


def _one(connection: Connection, question: str) -> object:
    row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]
