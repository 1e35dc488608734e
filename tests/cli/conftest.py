"""The real command in a process of its own, in an empty folder, with nothing of ours in its environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.cli.forked import forked
from tests.conftest import Connect, Connection
from tests.keys import KEY

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "relay"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *expected: str) -> str:
        """A user's mistake: exit 2, nothing on stdout, one line on stderr that holds all of this."""
        assert self.code == 2, self
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert "Traceback" not in line
        for text in expected:
            assert text in line, f"{text!r} is not in {line!r}"
        return line


class Rowhook(Protocol):
    def __call__(self, *arguments: str, env: Mapping[str, str] | None = ..., input: str | None = ..., ok: bool = ...) -> Done: ...


def environment(**variables: str) -> dict[str, str]:
    """Enough to run, whatever the machine's own settings are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **variables}


@pytest.fixture
def in_folder(tmp_path: Path) -> Path:
    """Where commands run: outside the clone."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


How = Callable[[Sequence[str], Path, Mapping[str, str], str], Done]


def _in_a_fork(arguments: Sequence[str], folder: Path, env: Mapping[str, str], given: str) -> Done:
    ended = forked(arguments, folder, env, given, timeout=60)
    return Done(tuple(arguments), ended.code, ended.out, ended.err)


def _from_the_start(arguments: Sequence[str], folder: Path, env: Mapping[str, str], given: str) -> Done:
    ended = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=env, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    return Done(tuple(arguments), ended.returncode, ended.stdout, ended.stderr)


def _command(how: How, folder: Path, settings: Mapping[str, str]) -> Rowhook:
    def run(*arguments: str, env: Mapping[str, str] | None = None, input: str | None = None, ok: bool = False) -> Done:
        done = how(arguments, folder, environment(**{**settings, **(env or {})}), input or "")
        if ok:
            assert done.code == 0, done
        return done

    return run


@pytest.fixture
def anywhere(in_folder: Path) -> Rowhook:
    """Run a command without any setting."""
    return _command(_in_a_fork, in_folder, {})


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The test's database, and a key."""
    database = request.getfixturevalue("empty_dsn" if "empty_dsn" in request.fixturenames else "dsn")
    return {"DATABASE_URL": database, "ROWHOOK_SECRET_KEY": KEY}


@pytest.fixture
def rowhook(in_folder: Path, settings: dict[str, str]) -> Rowhook:
    """Run a command against the test's database; it must succeed if `ok`."""
    return _command(_in_a_fork, in_folder, settings)


@pytest.fixture
def really(in_folder: Path, settings: dict[str, str]) -> Rowhook:
    """The same by `python -m relay`, which takes longer: for what happens before a command begins, or is seen from outside."""
    return _command(_from_the_start, in_folder, settings)


@pytest.fixture
def endpoint(rowhook: Rowhook) -> str:
    """The id of an endpoint that wants everything."""
    return str(rowhook("endpoint", "add", "https://example.com/hook", "--json", ok=True).json["id"])


@dataclass(frozen=True)
class Sent:
    """An event and its delivery, by public ids and by the delivery's own."""

    event: str
    delivery: str
    id: int


@pytest.fixture
def deliver(conn: Connection) -> Callable[..., Sent]:
    """Write an event and a delivery in some state, with attempts that failed, as a relay would have left them."""

    def deliver(endpoint: str, state: str = "dead", attempts: int = 0, age: str = "0", type: str = "expense.created") -> Sent:
        ended = state not in ("pending", "leased")
        ((event,),) = conn.execute("SELECT rowhook.emit(%s, '{}', '42', '7')", [type]).fetchall()
        row = conn.execute(
            """
            INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, created_at, state, attempts, failures, due_at,
                                          leased_at, ended_at, instance_id)
            SELECT e.id, e.slot, p.id, now() - %(age)s::interval, %(state)s, %(attempts)s, %(attempts)s,
                   CASE WHEN %(state)s = 'pending' THEN now() END, CASE WHEN %(state)s = 'leased' THEN now() END,
                   CASE WHEN %(ended)s THEN now() END, CASE WHEN %(state)s = 'leased' THEN 1 END
              FROM rowhook.event AS e, rowhook.endpoint AS p
             WHERE rowhook.public_id('evt', e.occurred_at, e.id, e.slot) = %(event)s AND p.public_id = %(endpoint)s
            RETURNING id, rowhook.public_id('dlv', created_at, id)
            """,
            {"age": age, "state": state, "attempts": attempts, "ended": ended, "event": event, "endpoint": endpoint},
        ).fetchone()
        assert row is not None
        conn.execute(
            """
            INSERT INTO rowhook.attempt (delivery_id, endpoint_id, instance_id, started_at, duration, number, status_code,
                                         error_class, error, response_excerpt)
            SELECT d.id, d.endpoint_id, 1, now(), interval '12.345 ms', n, 503,
                   'http_5xx', 'Service Unavailable', E'\x1b[31mgo away\n'
              FROM rowhook.delivery AS d, generate_series(1, %s) AS n WHERE d.id = %s
            """,
            [attempts, row[0]],
        )
        return Sent(str(event), str(row[1]), int(row[0]))

    return deliver


@pytest.fixture
def heard(connect: Connect) -> Callable[[], int]:
    """How many notifications relays would have had since the last call."""
    connection = connect()
    connection.execute("LISTEN rowhook_work")

    def count() -> int:
        return len(list(connection.notifies(timeout=0.2)))

    return count


# --- a relay that runs ------------------------------------------------------------------------------------------

LOOPBACK = {"ROWHOOK_ALLOW_NETWORKS": "127.0.0.0/8"}
Start = Callable[..., AbstractContextManager["Running"]]


class Running:
    """A relay in a process of its own; what it logged is in `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def wait_for(self, text: str) -> str:
        """The log, once it holds this."""
        deadline = time.monotonic() + 20
        while text not in (logged := self.log.read_text()):
            assert self.process.poll() is None, logged
            assert time.monotonic() < deadline, logged
            time.sleep(0.02)
        return logged

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start(dsn: str, in_folder: Path) -> Start:
    @contextlib.contextmanager
    def start(*arguments: str, **variables: str) -> Iterator[Running]:
        log = in_folder / "log"
        env = environment(**{"DATABASE_URL": dsn, "ROWHOOK_SECRET_KEY": KEY, **LOOPBACK, **variables})
        with log.open("wb") as written:
            process = subprocess.Popen([*COMMAND, "run", *arguments], cwd=in_folder, env=env, stderr=written)
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()

    return start


def wait_until_live(conn: Connection, name: str) -> None:
    deadline = time.monotonic() + 20
    while not conn.execute("SELECT FROM rowhook.instance WHERE state = 'live' AND name = %s", [name]).fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.02)
