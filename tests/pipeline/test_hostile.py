"""The transports' contract with hostile receivers, one name each (benchmarks/hostile_receivers.py).

Both transports say the same of it. Beyond its timeout a receiver holds no socket and no slot, and never much memory.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.hostile_receivers import RECEIVERS, SILLY_WAITS, Certificates, Hostile, Receiver
from benchmarks.misbehaviour import NOTHING, again
from relay.judge import judge
from relay.retry import RETRY_AFTER_AT_LEAST
from relay.send import Transport
from tests.pipeline.transports import OPEN, TRANSPORTS, post, said
from tests.unit.making import a_delivery

MUCH = 2_000_000  # bytes; what is read of an answer is 64 kB at most, of its headers 16 kB
SHORT, LONG = 0.4, 10.0
SLACK = 2.0  # of a machine that is busy
POLITE = Hostile(again(NOTHING), 200, None)

# Failures after which a connection may not be kept, so that it is gone without the transport being closed.
BROKEN = ("timeout", "too_large", "protocol", "reset", "tls")


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest_asyncio.fixture(params=TRANSPORTS)
async def one_slot(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Transport]:
    """Each transport in turn, with room for one request at a time; it trusts the authority of these receivers."""
    certificates.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    transport = TRANSPORTS[request.param](1, OPEN)
    await transport.open()
    yield transport
    await transport.close()


async def gone(receiver: Receiver) -> None:
    """Its side has no connection any more."""
    deadline = time.monotonic() + 10
    while receiver.open:
        assert time.monotonic() < deadline, "a socket is still open"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", RECEIVERS)
async def test_a_hostile_receiver(name: str, one_slot: Transport, certificates: Certificates) -> None:
    hostile = RECEIVERS[name]
    timeout = SHORT if hostile.error_class == "timeout" else LONG
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the receiver's own, of what is broken off
    async with Receiver(hostile, certificates).serving() as receiver, Receiver(POLITE, certificates).serving() as polite:
        tracemalloc.start()
        try:
            outcome = await post(one_slot, receiver.url, timeout=timeout)
            assert tracemalloc.get_traced_memory()[1] < MUCH
        finally:
            tracemalloc.stop()
        lost = hostile.or_none and (outcome.status_code, outcome.error_class) == (None, "protocol")
        assert lost or said(outcome) == (hostile.status, hostile.error_class, False), outcome
        assert (outcome.error is None) == (outcome.error_class is None)
        assert not outcome.error or ("\n" not in outcome.error and len(outcome.error) <= 500)
        assert outcome.duration < timeout + SLACK
        assert said(await post(one_slot, polite.url)) == (200, None, False), "the slot is free"
        if hostile.error_class in BROKEN:
            await gone(receiver)
        await one_slot.close()
        await gone(receiver)


async def test_retry_after_of_every_silly_kind_asks_for_no_more_than_is_honoured(one_slot: Transport) -> None:
    """All of them, from the wire to the wait: never nothing, never for ever."""
    async with Receiver(RECEIVERS["retry-after of every silly kind"], Certificates()).serving() as receiver:
        for value in SILLY_WAITS:
            outcome = await post(one_slot, receiver.url)
            assert outcome.retry_after == value.decode("utf-8", "surrogateescape")
            result = judge(a_delivery(), outcome, 0.5, datetime.now(UTC))
            assert 1 <= result.wait <= 1.1 * RETRY_AFTER_AT_LEAST.total_seconds(), value


@pytest.mark.parametrize("name", ["never reads", "closes after half of the body", "answers before the body is read"])
async def test_with_a_large_body(name: str, one_slot: Transport, certificates: Certificates) -> None:
    hostile = RECEIVERS[name]
    async with Receiver(hostile, certificates).serving() as receiver:
        outcome = await post(one_slot, receiver.url, body=b"x" * 20_000_000, timeout=SHORT if hostile.status is None else LONG)
        assert said(outcome) == (hostile.status, hostile.error_class, False), outcome
        await gone(receiver)
