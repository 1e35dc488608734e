"""One process of several, a relay or their API: the child's side of `rowhook run --processes`; ward.py has the supervisor's.

Stdin brings the order, one line of JSON, and to the API further lines, which name relays that are down. Its end means that the
supervisor is gone, and is obeyed like SIGTERM. Stdout takes lines back: an empty one is a beat of this process's loop, JSON is
the user's mistake that ended it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

from relay import config, logging_setup
from relay.api.alone import Alone, let_relays_go_first
from relay.config import Settings
from relay.errors import RowhookError, UserMistake
from relay.process import STOPPING, run_quickly, stop_on_signals
from relay.refusals import refusals
from relay.service import Relay

log = logging.getLogger(__name__)

BEAT_EVERY = 2.0
ORDERS, REPORTS = 0, 1  # stdin and stdout
FAILED, MISTAKEN = 1, 2


def relay_order(settings: Settings, name: str, *, listens: bool, first: bool) -> bytes:
    """What tells a child all it needs (service.Relay has the words); over a pipe, because the settings hold secrets."""
    return _line({"settings": config.given(settings), "name": name, "relay": {"name": name, "listens": listens, "first": first}})


def api_order(settings: Settings, name: str, down: Sequence[str]) -> bytes:
    """The same for the API of these relays."""
    return _line({"settings": config.given(settings), "name": name, "down": list(down)})


def down_line(down: Sequence[str]) -> bytes:
    """To the API: which relays are down now."""
    return _line(list(down))


def _line(told: object) -> bytes:
    return json.dumps(told).encode() + b"\n"


def mistake(line: bytes) -> UserMistake | None:
    """What a line from a child says, unless it is a beat."""
    return UserMistake(*json.loads(line)) if line.startswith(b"[") else None


def main() -> None:
    """Run what the first line orders; the exit codes are those of `rowhook run`."""
    if not (line := sys.stdin.buffer.readline()):
        return  # the supervisor went before it said anything
    ordered = json.loads(line)
    settings = config.load(_env_file=None, **ordered["settings"])
    logging_setup.set_up(settings.log_format, settings.log_level, relay=ordered["name"])
    try:
        with refusals():
            if "relay" in ordered:
                run_quickly(_serve(Relay(settings, api=False, **ordered["relay"]).run))
            else:
                let_relays_go_first()
                api = Alone(settings, ordered["down"])
                run_quickly(_serve(api.run, api.told))
    except UserMistake as made:
        _report(json.dumps([made.message, made.remedy]))
        sys.exit(MISTAKEN)
    except RowhookError as error:
        log.error("this process has failed", extra={"reason": str(error)})
        sys.exit(FAILED)


async def _serve(run: Callable[[asyncio.Event], Awaitable[None]], told: Callable[[bytes], object] = bytes) -> None:
    stop = stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # ward.py blocked them until there was a handler
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if data := os.read(ORDERS, 65_536):
            told(data)
        else:
            loop.remove_reader(ORDERS)
            stop.set()

    loop.add_reader(ORDERS, heard)
    beating = asyncio.create_task(_beat())
    try:
        await run(stop)
    finally:
        beating.cancel()


async def _beat() -> None:
    while True:
        _report()
        await asyncio.sleep(BEAT_EVERY)


def _report(text: str = "") -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(REPORTS, text.encode() + b"\n")


if __name__ == "__main__":
    main()
