"""What a process of ours is to the operating system: its name to people, the signals that end it in order, its loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any

import uvloop

# glibc's mallopt: bodies of up to so many bytes come from the heap, and so much of it that is free is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT_FREE, LARGEST_ON_HEAP = 64 * 1024 * 1024, 4 * 1024 * 1024

STOPPING = (signal.SIGTERM, signal.SIGINT)


def own_name() -> str:
    """host:process, which is what a relay is called until somebody names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def stop_on_signals() -> asyncio.Event:
    """An event of the running loop that SIGTERM or SIGINT sets; a second signal changes nothing.

    By handlers that outlive the loop, unlike the loop's own: at its end, for a moment, the default action would end a
    process out of order.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def heard(number: int, frame: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stop.set)

    for number in STOPPING:
        signal.signal(number, heard)
    return stop


def run_quickly(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop; what was imported stays for good, and looking at it again and again would be a twentieth of each delivery.

    What fails leaves cycles (a traceback and what it names), so these are looked for often enough: ten times as seldom, dozens of
    hostile receivers took half as much memory again.
    """
    gc.freeze()
    gc.set_threshold(2_000, 10, 10)
    _keep_freed_memory()
    try:
        uvloop.run(main)
    finally:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # the interpreter's end would take a handler away, but not this


def _keep_freed_memory() -> None:
    """Large bodies come and go; to have the kernel empty the pages for each anew is a fifth of what one of 200 kB costs."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, LARGEST_ON_HEAP)
