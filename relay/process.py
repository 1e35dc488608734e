"""What a process of ours is to the operating system: its name to people, the signals that end it in order, its loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any

import uvloop

STOPPING = (signal.SIGTERM, signal.SIGINT)


def own_name() -> str:
    """host:process, which is what a relay is called until somebody names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def stop_on_signals() -> asyncio.Event:
    """An event of the running loop that SIGTERM or SIGINT sets; a second signal changes nothing."""
    stop = asyncio.Event()
    for number in STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def run_quickly(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop; what was imported stays for good, and looking at it again and again would be a twentieth of each delivery."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    uvloop.run(main)
