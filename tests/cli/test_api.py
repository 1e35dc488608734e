"""The API as a command: alone, within a relay, and beside several."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from tests.api.conftest import TOKEN, Client, Told
from tests.cli.conftest import COMMAND, LOOPBACK, Rowhook, Running, environment
from tests.cluster import free_port
from tests.keys import KEY
from tests.receiver import Receiver

URL = "https://example.com/hook"
Serving = Callable[..., AbstractContextManager[tuple[Running, Client]]]


@pytest.fixture
def serving(dsn: str, in_folder: Path) -> Serving:
    """A command that serves the API, once it answers; and a client of it."""

    @contextlib.contextmanager
    def serving(*arguments: str, **variables: str) -> Iterator[tuple[Running, Client]]:
        log, port = in_folder / "log", free_port()
        given = {"DATABASE_URL": dsn, "ROWHOOK_SECRET_KEY": KEY, "ROWHOOK_API_TOKEN": TOKEN, **LOOPBACK, **variables}
        env = environment(ROWHOOK_API_LISTEN=f"127.0.0.1:{port}", **given)
        with log.open("wb") as written:
            process = subprocess.Popen([*COMMAND, *arguments], cwd=in_folder, env=env, stderr=written)
        running, client = Running(process, log), Client(port, TOKEN)
        try:
            until(lambda: answer(client, running).status == 200)
            yield running, client
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                child.kill()
            process.kill()
            process.wait()

    return serving


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answer(client: Client, running: Running) -> Told:
    """What /health/live says; 0 while nobody listens."""
    assert running.process.poll() is None, running.log.read_text()
    try:
        return client.get("/health/live")
    except OSError:
        return Told(0, {}, "")


def test_alone_it_serves_until_it_is_stopped(serving: Serving) -> None:
    with serving("api") as (running, client):
        assert client.post("/webhooks", {"url": URL}).ok(201)["secret"]
        assert client.get("/health/ready").ok()["status"] == "ready", "nothing waits, so nobody is missed"
        assert psutil.Process(running.process.pid).nice() == 19, "relays go first"
        assert running.stop() == 0, running.log.read_text()
    logged = running.log.read_text()
    assert "POST /webhooks status=201" in logged and "who=operator" in logged
    assert TOKEN not in logged and "whsec_" not in logged


def test_without_a_token_the_log_says_who_is_answered(serving: Serving) -> None:
    with serving("api", ROWHOOK_API_TOKEN="") as (running, client):
        running.wait_for("loopback only")
        client.get("/webhooks").ok()


def test_in_a_relay_it_is_ready_when_the_relay_dispatches(serving: Serving, receiver: Receiver) -> None:
    with serving("run") as (running, client):
        until(lambda: client.get("/health/ready").status == 200)
        id = client.post("/webhooks", {"url": receiver.url(), "events": ["order.*"]}).ok(201)["id"]
        client.post(f"/webhooks/{id}/ping").ok(202)
        receiver.wait_for(1)
        assert running.stop() == 0, running.log.read_text()


def test_beside_several_relays_it_is_a_process_that_is_started_again(serving: Serving) -> None:
    with serving("run", "--processes", "2", "--instance-name", "n") as (running, client):
        children = {c.cmdline()[-1]: c for c in psutil.Process(running.process.pid).children()}
        api = children["n/api"]
        assert (api.nice(), children["n/1"].nice()) == (19, psutil.Process().nice()), "relays go first"
        until(lambda: client.get("/health/ready").status == 200)
        client.post("/webhooks", {"url": URL}).ok(201)
        api.kill()
        running.wait_for("the API has died and is started again")
        until(lambda: answer(client, running).status == 200)
        assert len(client.get("/webhooks").ok()["items"]) == 1
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0, running.log.read_text()


def test_an_address_that_is_taken_is_a_mistake(rowhook: Rowhook, receiver: Receiver) -> None:
    taken = {"ROWHOOK_API_LISTEN": f"127.0.0.1:{receiver.port}"}
    for command in (("api",), ("run",), ("run", "--processes", "2")):
        done = rowhook(*command, env={**taken, "ROWHOOK_API_TOKEN": TOKEN, "ROWHOOK_LOG_LEVEL": "error"})
        assert done.code == 2 and f"127.0.0.1:{receiver.port} can't be listened on" in done.err and "Traceback" not in done.err
