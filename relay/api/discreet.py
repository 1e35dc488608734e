"""What a tenant is told of a failure: not where a name leads in the operator's network, nor which of its settings forbid that.

The whole text is on record, for the operator (API, CLI, SQL).
"""

from __future__ import annotations

from relay.api.principal import Principal
from relay.database import Row
from relay.model import LOOP, ErrorClass

# Whose texts name addresses: of a name, of the relay's own places, of a proxy.
TOLD = {
    ErrorClass.BLOCKED: "requests may not go there: it takes a public address, https, and a usual port",
    ErrorClass.REFUSED: "no connection could be made",
}


def error_for(principal: Principal, row: Row) -> str | None:
    """An attempt's ``error`` as this principal may see it."""
    error: str | None = row["error"]
    if principal.is_operator or error is None or error == LOOP:
        return error
    return TOLD.get(row["error_class"], error)
