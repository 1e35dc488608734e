"""Close a connection at once, and leave nothing of it behind.

What a receiver didn't read would stay in the kernel after a plain close, megabytes for minutes; asyncio's own ``close`` keeps
even the socket until all is sent, and over TLS waits half a minute for the other side's farewell.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: what is unsent is thrown away, and the other side told so by a reset


def hang_up(transport: asyncio.WriteTransport) -> None:
    """Also of a transport that is closing already."""
    connection = transport.get_extra_info("socket")
    is_open = connection is not None and connection.fileno() >= 0
    if is_open and (transport.get_write_buffer_size() or _unacknowledged(connection.fileno())):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def _unacknowledged(descriptor: int) -> int:
    """Bytes that the kernel has and the other side's has not."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
