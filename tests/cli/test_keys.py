"""Secrets on the command line and in a relay that runs: keys, rotation, headers; and nothing of them where it should not be."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from relay.identity import parse_client
from relay.keyring import Keyring
from relay.sign import Secret
from tests.cli.conftest import LOOPBACK, Rowhook, Running, Start, wait_until_live
from tests.cluster import Cluster
from tests.conftest import Connection
from tests.keys import KEY, OTHER_KEY
from tests.receiver import Received, Receiver

KEYLESS = {"ROWHOOK_SECRET_KEY": ""}
PLAIN = "a plain secret, 30 characters."
TOKEN = "Bearer 3c0ffee-is-the-token-of-this-test"


def emit(conn: Connection) -> None:
    conn.execute("SELECT rowhook.emit('order.placed', '{}')")


def signatures(request: Received) -> dict[str, list[bytes]]:
    """Of ``webhook-signature``, by scheme, in order."""
    found: dict[str, list[bytes]] = {}
    for part in request.headers["webhook-signature"].split():
        scheme, _, signature = part.partition(",")
        found.setdefault(scheme, []).append(base64.b64decode(signature))
    return found


def signed(request: Received) -> bytes:
    return f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body


def by_hmac(secret: str, request: Received) -> bytes:
    begin, _, _ = signed(request).partition(request.body)
    return base64.b64decode(Secret.parse(secret).sign(begin, request.body).removeprefix("v1,"))


# --- keys ---------------------------------------------------------------------------------------------------------


def test_keygen_prints_a_key_and_nothing_else_on_stdout(anywhere: Rowhook) -> None:
    first, second = anywhere("keygen", ok=True), anywhere("keygen", ok=True)
    assert Keyring.parse(first.out).newest != Keyring.parse(second.out).newest
    assert first.out.count("\n") == 1 and first.out.strip() not in first.err
    assert "ROWHOOK_SECRET_KEY" in first.err


@pytest.mark.parametrize(
    "command", [("run",), ("endpoint", "add", "https://example.com/"), ("endpoint", "rotate", "end_x"), ("rekey",)]
)
def test_without_a_key_nothing_begins_and_keygen_is_named(rowhook: Rowhook, command: tuple[str, ...]) -> None:
    rowhook(*command, env=KEYLESS).refused("ROWHOOK_SECRET_KEY is not set", "rowhook keygen")


def test_a_key_that_is_none_is_refused_without_being_shown(rowhook: Rowhook) -> None:
    line = rowhook("run", env={"ROWHOOK_SECRET_KEY": "my-own-passphrase"}).refused("ROWHOOK_SECRET_KEY", "rowhook keygen")
    assert "my-own" not in line


def test_run_refuses_a_key_that_opens_nothing_of_what_is_stored(rowhook: Rowhook, endpoint: str) -> None:
    rowhook("run", "--no-api", env={"ROWHOOK_SECRET_KEY": OTHER_KEY}).refused(
        "does not hold the key", Keyring.parse(KEY).newest, "NEW,OLD"
    )


def test_what_does_not_need_a_key_works_without_one(rowhook: Rowhook, endpoint: str) -> None:
    assert rowhook("endpoint", "list", "--json", env=KEYLESS, ok=True).json[0]["id"] == endpoint
    rowhook("endpoint", "show", endpoint, env=KEYLESS, ok=True)
    rowhook("endpoint", "edit", endpoint, "--description", "x", env=KEYLESS, ok=True)


def test_rekey_moves_everything_to_the_newest_key_and_the_old_one_can_go(
    rowhook: Rowhook, conn: Connection, receiver: Receiver, start: Start, in_folder: Path
) -> None:
    """1 An endpoint under KEY. 2 NEW,OLD: rekey. 3 A relay with NEW alone delivers, signed by the same secret, with headers."""
    (in_folder / "headers").write_text(f"Authorization: {TOKEN}\n")
    added = add(rowhook, receiver, "--secret", "-", "--header-file", "headers", input=PLAIN)
    both = {"ROWHOOK_SECRET_KEY": f"{OTHER_KEY},{KEY}"}
    told = rowhook("rekey", "--json", env=both, ok=True).json
    newest = Keyring.parse(OTHER_KEY).newest
    assert told == {"secrets": 1, "headers": 1, "client_keys": 0, "key_id": newest, "unreadable": []}
    assert rowhook("rekey", "--json", env=both, ok=True).json["secrets"] == 0
    assert conn.execute("SELECT DISTINCT key_id FROM rowhook.secret").fetchall() == [(newest,)]
    with start("--no-api", "--instance-name", "new", ROWHOOK_SECRET_KEY=OTHER_KEY):
        wait_until_live(conn, "new")
        emit(conn)
        (request,) = receiver.wait_for(1)
    assert by_hmac(PLAIN, request) in signatures(request)["v1"]
    assert request.headers["Authorization"] == TOKEN
    assert added["headers"] == ["Authorization"]


def test_rekey_says_what_it_cannot_read_and_leaves_it(rowhook: Rowhook, conn: Connection, endpoint: str) -> None:
    before = conn.execute("SELECT key_id, ciphertext FROM rowhook.secret").fetchall()
    done = rowhook("rekey", env={"ROWHOOK_SECRET_KEY": OTHER_KEY})
    assert done.code == 1 and endpoint in done.err and "Traceback" not in done.err
    assert conn.execute("SELECT key_id, ciphertext FROM rowhook.secret").fetchall() == before


def test_deliveries_wait_for_a_key_that_is_missing_and_go_on_after_it_is_back(
    rowhook: Rowhook, conn: Connection, receiver: Receiver, start: Start
) -> None:
    """One endpoint under each key; a relay with one of them: that one's go out, the other's wait, nothing is dead."""
    add(rowhook, receiver)
    lost = rowhook("endpoint", "add", receiver.url("/lost"), env={**LOOPBACK, "ROWHOOK_SECRET_KEY": OTHER_KEY}, ok=True)
    assert lost.code == 0
    with start("--no-api", "--instance-name", "half") as relay:
        wait_until_live(conn, "half")
        emit(conn)
        receiver.wait_for(1, path="/hook")
        relay.wait_for(Keyring.parse(OTHER_KEY).newest)
        assert relay.stop() == 0
    states = conn.execute("SELECT state FROM rowhook.delivery ORDER BY id").fetchall()
    assert sorted(states) == [("delivered",), ("pending",)]
    conn.execute("UPDATE rowhook.delivery SET due_at = clock_timestamp() WHERE state = 'pending'")
    with start("--no-api", "--instance-name", "whole", ROWHOOK_SECRET_KEY=f"{KEY},{OTHER_KEY}"):
        receiver.wait_for(1, path="/lost")


# --- what an endpoint signs and sends with ------------------------------------------------------------------------


def add(rowhook: Rowhook, receiver: Receiver, *options: str, input: str | None = None) -> dict[str, Any]:
    """An endpoint at the receiver."""
    found: dict[str, Any] = rowhook(
        "endpoint", "add", receiver.url(), *options, "--json", env=LOOPBACK, input=input, ok=True
    ).json
    return found


def test_ed25519_shows_the_public_key_alone_and_it_verifies(
    rowhook: Rowhook, conn: Connection, receiver: Receiver, start: Start
) -> None:
    added = add(rowhook, receiver, "--scheme", "ed25519")
    assert added["public_key"].startswith("whpk_") and "secret" not in added
    shown = rowhook("endpoint", "show", added["id"], "--json", ok=True).json
    assert shown["secrets"][0]["public_key"] == added["public_key"]
    with start("--no-api", "--instance-name", "n"):
        wait_until_live(conn, "n")
        emit(conn)
        (request,) = receiver.wait_for(1)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(added["public_key"].removeprefix("whpk_")))
    key.verify(signatures(request)["v1a"][0], signed(request))
    assert "X-Hub-Signature-256" not in request.headers


def test_after_a_rotation_both_sign_and_after_the_overlap_the_new_one_alone(
    rowhook: Rowhook, conn: Connection, receiver: Receiver, start: Start
) -> None:
    old = add(rowhook, receiver)
    with start("--no-api", "--instance-name", "n"):
        wait_until_live(conn, "n")
        new = rowhook("endpoint", "rotate", old["id"], "--json", ok=True).json
        emit(conn)
        (first,) = receiver.wait_for(1)
        conn.execute("UPDATE rowhook.secret SET expires_at = clock_timestamp() WHERE expires_at IS NOT NULL")
        conn.execute("UPDATE rowhook.endpoint SET revision = revision + 1")
        emit(conn)
        _, second = receiver.wait_for(2)
    assert signatures(first)["v1"] == [by_hmac(new["secret"], first), by_hmac(old["secret"], first)]
    assert signatures(second)["v1"] == [by_hmac(new["secret"], second)]


@pytest.mark.parametrize("line", ["Host: example.com", "webhook-id: x", "Größe: 1", "X-A:", "no header"])
def test_headers_that_are_not_the_endpoints_are_refused(rowhook: Rowhook, line: str) -> None:
    rowhook("endpoint", "add", "https://example.com/", "--header", "-", input=line + "\n").refused()


def test_secrets_and_headers_are_no_arguments(rowhook: Rowhook) -> None:
    add_one = ("endpoint", "add", "https://example.com/")
    for option, value in (("--secret", PLAIN), ("--header", f"Authorization: {TOKEN}")):
        line = rowhook(*add_one, option, value).refused("a command line can be seen by others")
        assert value not in line


# --- nowhere else -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def command_lines() -> Iterator[set[str]]:
    """All that the process list showed meanwhile of what this process has started, the server and its sessions too."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    seen.add("\0".join(process.cmdline()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_no_secret_is_in_a_debug_log_a_dump_an_answer_or_the_process_list(
    really: Rowhook, conn: Connection, receiver: Receiver, start: Start, cluster: Cluster, in_folder: Path
) -> None:
    """Every kind of secret, through adding, delivering, failing, rotating and rekeying, two processes, all that is logged."""
    receiver.answer("/hook", 500)
    env: Mapping[str, str] = {"ROWHOOK_LOG_LEVEL": "debug", "ROWHOOK_RETRY_SCHEDULE": "1s,1s"}
    said: list[str] = []
    client = trustme.CA().issue_cert("client.example", common_name="client").private_key_and_cert_chain_pem
    client.write_to_path(in_folder / "client.pem")
    with command_lines() as seen:
        hmac = add(really, receiver, "--header", "-", input=f"Authorization: {TOKEN}\n")
        add(really, receiver, "--secret", "-", input=PLAIN)
        add(really, receiver, "--scheme", "ed25519")
        tls = ("endpoint", "add", f"https://127.0.0.1:{receiver.port}/", "--client-cert", "client.pem")
        said.append(really(*tls, env=LOOPBACK, ok=True).out)
        with start("--no-api", "--processes", "2", "--instance-name", "loud", **env) as relay:
            wait_until_live(conn, "loud/1")
            emit(conn)
            receiver.wait_for(6, timeout=20)
            new = really("endpoint", "rotate", hmac["id"], "--json", ok=True).json
            emit(conn)
            receiver.wait_for(9, timeout=20)
            _deliver_with_a_database_that_goes(conn, relay)
        for command in (("endpoint", "list"), ("endpoint", "show", hmac["id"]), ("deliveries",)):
            said += [really(*command, "--json", ok=True).out, really(*command, ok=True).out]
        said.append(really("rekey", env={"ROWHOOK_SECRET_KEY": f"{OTHER_KEY},{KEY}"}, ok=True).out)
    dump = cluster.run("pg_dump", conn.info.dbname).stdout
    assert "debug" in relay.log.read_text().lower() or len(relay.log.read_text()) > 500, "this was a full log"
    secrets = [hmac["secret"], new["secret"], PLAIN, TOKEN, KEY, OTHER_KEY]
    secrets += [secret.removeprefix("whsec_") for secret in secrets] + [base64.b64decode(KEY + "=").decode()]
    assert conn.execute("SELECT count(*) FROM rowhook.attempt WHERE error_class = 'tls'").fetchone() != (0,), "it was loaded"
    key = client.bytes().decode().partition("-----BEGIN CERTIFICATE")[0]
    lines = [line for line in parse_client(client.bytes(), client.bytes(), datetime.now(UTC))[1].splitlines() if len(line) > 30]
    assert len(lines) >= 2 and lines[0] not in key, "as it is kept; PKCS8"
    secrets += [*lines, *(line.encode().hex() for line in lines), *(line for line in key.splitlines() if len(line) > 30)]
    for secret in secrets:
        for where, text in {"log": relay.log.read_text(), "dump": dump, "answers": "".join(said)}.items():
            assert secret not in text, where
        assert not [line for line in seen if secret in line], "process list"


def _deliver_with_a_database_that_goes(conn: Connection, relay: Running) -> None:
    """A lost connection is logged with what it was connected to."""
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rowhook %'")
    relay.wait_for("trying again")
    time.sleep(0.5)
