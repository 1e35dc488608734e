"""The other side: a web server with four hooks that verifies each request, keeps a journal, and fails where it is meant to."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from aiohttp import web

from relay.demo.ledger import Change, texts
from relay.demo.verify import both_signatures_hold

OK, UNAUTHORIZED, BROKEN, BUSY = 200, 401, 500, 503
FLAKY_FAILURES = 2


@dataclass(frozen=True)
class Hook:
    """One path of the receiver, and the endpoint that is to be made for it."""

    path: str
    events: str
    tenant: str | None
    habit: str
    answer: Callable[[int], int]  # the how-manieth request of an event -> status

    def wants(self, change: Change) -> bool:
        return self.events in ("expense.*", f"expense.{change.op}") and self.tenant in (None, change.tenant)


ALL = Hook("/all", "expense.*", None, "takes everything", lambda number: OK)
USER = Hook("/user-2", "expense.*", "2", "takes what is user 2's", lambda number: OK)
FLAKY = Hook("/flaky", "expense.updated", None, "fails twice per event", lambda number: OK if number > FLAKY_FAILURES else BUSY)
BROKEN_HOOK = Hook("/broken", "expense.deleted", None, "always fails", lambda number: BROKEN)
HOOKS = (ALL, USER, FLAKY, BROKEN_HOOK)


@dataclass(frozen=True)
class Receipt:
    """One request as it came in, and the answer it got."""

    at: float
    path: str
    status: int
    verified: bool
    event_id: str
    delivery_id: str
    attempt: int
    body: bytes
    content: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.content["type"])

    @property
    def row(self) -> str:
        return str((self.content["data"] or {}).get("id", ""))

    @property
    def latency_ms(self) -> float:
        """From the change to its receipt; a retry's includes the waits."""
        return (self.at - datetime.fromisoformat(self.content["timestamp"]).timestamp()) * 1000

    @property
    def change(self) -> Change:
        data = self.content["data"]
        op = self.type.removeprefix("expense.")
        return Change(op, str(data["id"]), texts(data), texts(self.content.get("previous", {})))


class Receiver:
    """Listens on the loopback while it is entered. `secrets` are those of the hooks, by path."""

    def __init__(self, secrets: dict[str, str], show: Callable[[Receipt], None]) -> None:
        self.journal: list[Receipt] = []
        self._secrets = secrets
        self._show = show
        self._tries: Counter[tuple[str, str]] = Counter()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        for hook in HOOKS:
            app.router.add_post(hook.path, self._handler(hook))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, hook: Hook) -> str:
        return f"http://127.0.0.1:{self.port}{hook.path}"

    def keep(self, receipt: Receipt) -> None:
        """Enter a request in the journal."""
        self.journal.append(receipt)
        self._show(receipt)

    def _handler(self, hook: Hook) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            at = time.time()
            verified = both_signatures_hold(self._secrets[hook.path], request.headers, body)
            receipt = self._receipt(hook, request, body, at, verified)
            self.keep(receipt)
            return web.Response(status=receipt.status, text="thanks" if receipt.status == OK else "not now")

        return handle

    def _receipt(self, hook: Hook, request: web.Request, body: bytes, at: float, verified: bool) -> Receipt:
        event_id = request.headers["webhook-id"]
        self._tries[hook.path, event_id] += 1
        return Receipt(
            at=at,
            path=hook.path,
            status=hook.answer(self._tries[hook.path, event_id]) if verified else UNAUTHORIZED,
            verified=verified,
            event_id=event_id,
            delivery_id=request.headers["X-Rowhook-Delivery"],
            attempt=int(request.headers["X-Rowhook-Attempt"]),
            body=body,
            content=json.loads(body, parse_float=Decimal),
        )
