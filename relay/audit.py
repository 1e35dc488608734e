"""Who changed what, when: rowhook.admin_log, written in the transaction of the change itself.

What is written is what anybody may see of an endpoint or a capture: never a secret, a header's value or a key.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from relay.database import query

# What Rowhook itself changes all the time is nobody's doing.
PASSING = ("failing_since", "circuit", "opened_at", "probes", "probe_at", "ramp")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, and on which way: ``cli``, ``api`` or ``run`` (what settings ask for)."""

    who: str
    via: str
    request_id: str | None = None


def by_command(via: str = "cli") -> Actor:
    """Whoever runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        user = "?"
    return Actor(f"{user}@{socket.gethostname()}", via)


def write(
    connection: psycopg.Connection[Any],
    actor: Actor,
    action: str,
    subject: str | None,
    *,
    tenant: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """One row. ``subject`` is what was changed, by its public id or name; of a change only what differs is kept."""
    old, new = _differing(before, after)
    connection.execute(
        query("audit.write"),
        {
            "who": actor.who,
            "via": actor.via,
            "request_id": actor.request_id,
            "action": action,
            "subject": subject,
            "tenant": tenant,
            "before": _json(old),
            "after": _json(new),
        },
    )


def _differing(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    if before is None or after is None:
        return _lasting(before), _lasting(after)
    changed = {name for name in (*before, *after) if before.get(name) != after.get(name)}
    old, new = _lasting(before) or {}, _lasting(after) or {}
    return {n: v for n, v in old.items() if n in changed}, {n: v for n, v in new.items() if n in changed}


def _lasting(values: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if values is None else {name: value for name, value in values.items() if name not in PASSING}


def _json(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, default=_plain)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)
