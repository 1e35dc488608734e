"""A relay and the commands beside it, logged in with nothing but role rowhook_relay: it has all that delivering needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from relay.database import application_name
from relay.lease import Lease, tag
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pipeline.conftest import AddHook, amounts, attempts_of, becomes, one, run, spend
from tests.pipeline.relays import ROOT, LocalRelay, environment, eventually
from tests.receiver import Receiver


@pytest.fixture
def sender(cluster: Cluster, conn: Connection, dsn: str) -> Iterator[str]:
    """A connection string of a login that is a member of rowhook_relay."""
    conn.execute("DROP ROLE IF EXISTS sender; CREATE ROLE sender LOGIN IN ROLE rowhook_relay")
    yield cluster.dsn(conn.info.dbname, user="sender")
    conn.execute("DROP ROLE sender")


def test_it_delivers_retries_parks_and_disables(
    finmind: str,
    sender: str,
    conn: Connection,
    user_id: int,
    receiver: Receiver,
    add_hook: AddHook,
    relays: Callable[..., LocalRelay],
) -> None:
    receiver.answer("/hook", [503, 200])
    receiver.answer("/gone", 410)
    hook = add_hook(receiver.url(), max_in_flight=1)
    gone = add_hook(receiver.url("/gone"))
    add_hook(receiver.url("/operator"), ["endpoint.disabled"])
    relays(sender)
    spend(conn, user_id, range(20))
    told = receiver.wait_for(21, path="/hook")
    assert amounts(told) == {**dict.fromkeys(range(20), 1), 0: 2}
    eventually(lambda: len(attempts_of(conn, hook)) == 21)
    receiver.wait_for(1, path="/operator")
    assert one(conn, "SELECT state FROM rowhook.endpoint WHERE id = %s", gone.id) == "disabled"


def test_it_takes_over_from_a_dead_one_and_after_a_restore(
    finmind: str,
    sender: str,
    conn: Connection,
    user_id: int,
    receiver: Receiver,
    add_hook: AddHook,
    relays: Callable[..., LocalRelay],
) -> None:
    hook = add_hook(receiver.url())
    spend(conn, user_id)
    conn.execute("""
        INSERT INTO rowhook.instance (id, name, beat_at) VALUES (4711, 'died long ago', now() - interval '1 minute');
        INSERT INTO rowhook.instance (id, name, state, ended_at) VALUES (4712, 'forgotten', 'dead', now() - interval '30 days');
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, instance_id, attempts, leased_at)
        SELECT e.id, e.slot, 1, 'leased', 4711, 1, now() FROM rowhook.event AS e;
        UPDATE rowhook.cursor SET system_identifier = 1;
    """)
    relays(sender)
    becomes(conn, {"delivered": 1})
    assert [row[2] for row in attempts_of(conn, hook)] == ["lost", None]
    assert one(conn, "SELECT system_identifier <> 1 FROM rowhook.cursor")


@pytest.fixture
def rowhook(sender: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as that login."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "relay", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment(sender)},
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done
        return done

    return run


async def test_sessions_of_a_stronger_role_are_not_its_to_end(sender: str, conn: Connection, connect: Connect) -> None:
    """1 A, a superuser's, is silent but holds its lock. 2 B finds it frozen, can't end it, and goes on."""
    frozen = 4711
    held = connect(application_name=application_name("lease", tag(frozen)))
    run(held, "lease.take_lock", {"instance": frozen})
    run(held, "lease.register", {"instance": frozen, "name": "A"})
    conn.execute("UPDATE rowhook.instance SET beat_at = now() - interval '1 minute'")
    lease = Lease(sender, sender, "B")
    await lease.register()
    report = await lease.beat()
    assert report.frozen == (frozen,)
    assert not await lease.tend(report)
    assert held.execute("SELECT 1").fetchone() == (1,)
    await lease.close()


def test_the_commands_beside_it_work_too(finmind: str, rowhook: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    added = rowhook("endpoint", "add", "https://example.com/hook").stdout
    endpoint = next(word for word in added.split() if word.startswith("end_"))
    for command in (
        ("endpoint", "edit", endpoint, "--url", "https://example.com/other"),
        ("endpoint", "pause", endpoint),
        ("endpoint", "resume", endpoint),
        ("endpoint", "rotate", endpoint),
        ("endpoint", "show", endpoint),
        ("endpoint", "list"),
        ("deliveries",),
        ("replay", "--since", "1h"),
        ("endpoint", "remove", endpoint),
    ):
        rowhook(*command)


@pytest.mark.parametrize("command", [("capture", "expenses"), ("uncapture", "expenses")])
def test_captures_are_not_for_it_and_the_refusal_says_whose_they_are(
    finmind: str, rowhook: Callable[..., subprocess.CompletedProcess[str]], command: tuple[str, ...]
) -> None:
    (line,) = rowhook(*command, code=2).stderr.splitlines()
    assert "the database role lacks a right" in line and "ROWHOOK_ADMIN_URL" in line
