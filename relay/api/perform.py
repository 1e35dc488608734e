"""One call in its thread: its transaction, its key, its answer as JSON; what goes wrong becomes a problem document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.api import idempotency
from relay.api.answered import Answered
from relay.api.call import Call, Connection
from relay.api.idempotency import Keyed
from relay.api.operation import Operation
from relay.api.principal import Principal
from relay.api.problem import busy, of_mistake
from relay.config import Settings
from relay.errors import DatabaseBusy, DatabaseLost, UserMistake
from relay.keyring import Keyring
from relay.refusals import refusals


@dataclass(frozen=True)
class Asked:
    """What was asked, checked: the function's arguments, and who asks."""

    operation: Operation
    principal: Principal
    request_id: str
    arguments: Mapping[str, Any] = field(repr=False)
    if_match: str | None = None
    keyed: Keyed | None = None


def perform(connection: Connection, settings: Settings, keyring: Keyring, asked: Asked) -> Answered:
    """The answer; raises Problem."""
    call = Call(connection, asked.principal, settings, keyring, asked.request_id, asked.if_match)
    with problems():
        if not asked.operation.in_transaction:
            return _answer(call, asked)
        with connection.transaction():
            if asked.keyed is None:
                return _answer(call, asked)
            if (before := idempotency.take(connection, keyring, asked.keyed)) is not None:
                return before
            answer = _answer(call, asked)
            idempotency.keep(connection, keyring, asked.keyed, answer)
            return answer


def _answer(call: Call, asked: Asked) -> Answered:
    made = asked.operation.function(call, **asked.arguments)
    body = b"" if made is None else made.model_dump_json().encode()
    return Answered(asked.operation.status, call.headers, body)


@contextlib.contextmanager
def problems() -> Iterator[None]:
    """Raises Problem instead of what the modules behind raise."""
    try:
        with refusals():
            yield
    except UserMistake as mistake:
        raise of_mistake(mistake) from None
    except DatabaseBusy as why:
        raise busy("another change of the same thing is under way") from why
    except DatabaseLost as why:
        raise busy("the database is not to be had at this moment") from why


def in_transaction(connection: Connection, function: Any, *args: Any) -> Any:
    """For streams: a function(connection, …) in a transaction of its own."""
    with problems(), connection.transaction():
        return function(connection, *args)
