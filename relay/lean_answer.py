"""What the lean transport reads of an answer: llhttp (httptools) calls, the limits cut. Pure: bytes in, no socket.

The parser is as lenient as aiohttp's (white space around values, bare line feeds), so that both transports take the same for
an answer. Limits: ``relay.send``; 1xx answers are skipped, but their headers count.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relay.model import ErrorClass
from relay.send import EXCERPT, MOST_FIELDS, MOST_HEADERS, MOST_RAW, MOST_READ, refuses_us


class Broken(Exception):
    """An exchange that failed, and how."""

    def __init__(self, error_class: ErrorClass, text: str) -> None:
        super().__init__(text)
        self.error_class = error_class


_LENGTHS = frozenset(map(len, ("content-length", "transfer-encoding", "retry-after")))  # of the names that mean something here


class LeanAnswer:
    """One answer after the other on a connection; ``begin`` before each, then ``feed`` until it says that there is no more."""

    __slots__ = (
        "_done",
        "_fields",
        "_head_size",
        "_in_body",
        "_parser",
        "_raw",
        "_read",
        "_sized",
        "kept",
        "last",
        "reason",
        "retry_after",
        "status",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.begin()

    def begin(self) -> None:
        self.status: int | None = None
        self.reason = b""
        self.retry_after: bytes | None = None
        self.kept = b""  # the excerpt
        self.last = True  # whether nothing may follow on this connection
        self._in_body = self._sized = self._done = False
        self._fields = self._head_size = self._raw = self._read = 0

    def feed(self, data: bytes) -> bool:
        """Whether the answer is over, as far as it is read. Raises Broken."""
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.last = True
        except HttpParserError as error:
            self.last = True
            if isinstance(error.__context__, Broken):
                raise error.__context__ from None
            if not (self._done or self._is_large):
                raise Broken(ErrorClass.PROTOCOL, f"the answer is not HTTP: {error}") from None
        if (self._raw > MOST_HEADERS or self._fields > MOST_FIELDS) and self._is_large and self._read < MOST_READ:
            self.status = None  # whether or not the rest of the head was there already
            raise Broken(ErrorClass.TOO_LARGE, f"the answer's headers have more than {MOST_HEADERS} bytes")
        if not self._done and (self._read >= MOST_READ or self._raw > MOST_RAW):
            self._done = self.last = True
        return self._done

    def end(self, reason: object) -> None:
        """The other side closed: by that it says that the answer is over, or cuts it. Raises Broken."""
        if not self._in_body:
            error_class = ErrorClass.TLS if refuses_us(reason) else ErrorClass.RESET
            raise Broken(error_class, str(reason or "") or "the connection was closed before there was an answer")
        if self._sized:
            raise Broken(ErrorClass.PROTOCOL, "the connection was closed in the middle of the answer")

    @property
    def _is_large(self) -> bool:
        """Headers beyond the limits: those that are complete, or all that came while the head is not."""
        return self._head_size > MOST_HEADERS or self._fields > MOST_FIELDS or (not self._in_body and self._raw > MOST_HEADERS)

    def on_message_begin(self) -> None:
        if self._done:
            self.last = True  # a second answer: to nothing that was asked

    def on_status(self, reason: bytes) -> None:
        if not self._done:
            self.reason += reason
            self._head_size += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._done:
            return
        self._fields += 1
        self._head_size += len(name) + len(value)
        if b"\0" in value:
            raise Broken(ErrorClass.PROTOCOL, "the answer is not HTTP: a header holds a NUL")
        if len(name) not in _LENGTHS:
            return
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            self._sized = True
        elif name == b"retry-after" and self.retry_after is None:
            self.retry_after = value

    def on_headers_complete(self) -> None:
        if self._done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.reason, self.retry_after, self._sized = b"", None, False
            return
        self._in_body = True
        self.status = status
        self.last = not self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if self._done:
            return
        self._read += len(piece)
        if len(self.kept) < EXCERPT:
            self.kept += piece[: EXCERPT - len(self.kept)]

    def on_message_complete(self) -> None:
        if self._in_body:
            self._done = True
