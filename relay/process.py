"""What a process of ours is to the operating system: its name to people, and the signals that end it in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

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
