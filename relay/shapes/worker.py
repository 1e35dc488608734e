"""The process in which templates are rendered, so that none can hold up the relay or read what it knows.

It has neither the relay's environment nor its files, little memory, and a bound on the time of its CPU for each template. Frames
go over a socket: the length in four bytes, then JSON. Its end is the socket's.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import struct
import sys
from typing import Any, Final

from relay.shapes.language import render

MEMORY: Final = 512 * 2**20  # bytes of address space
CPU: Final = 0.5  # seconds for one template
LENGTH: Final = struct.Struct(">I")


class OutOfTime(BaseException):
    """Nothing between a template and main() may catch it."""


def main() -> None:
    """Serve the socket whose number is the argument."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _out_of_time)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to all; the relay ends this one
    with socket.socket(fileno=int(sys.argv[1])) as relay, relay.makefile("rwb") as stream:
        _answer(stream, {})
        while head := stream.read(LENGTH.size):
            _answer(stream, answered(json.loads(stream.read(*LENGTH.unpack(head)))))


def answered(asked: dict[str, Any]) -> dict[str, str]:
    """``body``, or what went wrong as ``error``."""
    try:
        signal.setitimer(signal.ITIMER_PROF, CPU)
        try:
            return {"body": render(asked["template"], asked["envelope"], asked["more"])}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except OutOfTime:
        return {"error": f"the template takes more than {CPU:g} s"}
    except MemoryError:
        return {"error": "the template takes too much memory"}
    except Exception as error:
        return {"error": str(error)[:500] or type(error).__name__}


def _answer(stream: Any, answer: dict[str, str]) -> None:
    frame = json.dumps(answer).encode()
    stream.write(LENGTH.pack(len(frame)) + frame)
    stream.flush()


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime


if __name__ == "__main__":
    main()
