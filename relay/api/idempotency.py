"""``Idempotency-Key`` on POST: the same request again gets the same answer, and does nothing.

The key is taken in the transaction of the change, with the answer: there are both or neither, and who sends the same at the same
time waits for the first. An answer may show a secret (a new webhook's), so it is encrypted; after a day it is forgotten. What was
refused is not remembered: the key may be used again.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta

from relay.api.answered import Answered
from relay.api.call import Connection
from relay.api.principal import Principal
from relay.api.problem import Problem
from relay.database import query
from relay.keyring import Keyring, Sealed, Unreadable

KEPT_FOR = timedelta(hours=24)
MOST_FORGOTTEN = 100
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request with a key."""

    key: str
    principal: Principal
    fingerprint: bytes = field(repr=False)

    @property
    def names(self) -> dict[str, str]:
        return {"key": self.key, "principal": self.principal.key}

    @property
    def context(self) -> str:
        """To what its answer is bound."""
        return f"rowhook answer {self.principal.key}\0{self.key}"


def keyed(values: list[str], principal: Principal, method: str, path: str, body: bytes) -> Keyed | None:
    """Of the header's values; None where there is none."""
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise Problem(400, "malformed-header", "Idempotency-Key has to be 1 to 200 printable ASCII characters without spaces")
    digest = hashlib.sha256(b"\0".join([method.encode(), path.rstrip("/").encode(), body])).digest()
    return Keyed(values[0], principal, digest)


def take(connection: Connection, keyring: Keyring, request: Keyed) -> Answered | None:
    """None: the key is this request's now. Otherwise what was answered to it before."""
    connection.execute(query("idempotency.forget"), {"most": MOST_FORGOTTEN})
    parameters = {**request.names, "fingerprint": request.fingerprint, "kept": KEPT_FOR}
    if connection.execute(query("idempotency.take"), parameters).fetchall():
        return None
    (row,) = connection.execute(query("idempotency.find"), request.names).fetchall()
    if bytes(row["fingerprint"]) != request.fingerprint:
        raise Problem(422, "idempotency-key-reused", "this Idempotency-Key was sent with another request; take a new one")
    try:
        told = json.loads(keyring.open(Sealed(row["key_id"], bytes(row["answer"])), request.context))
    except Unreadable:
        raise Problem(409, "answer-lost", "this was done before, but its answer can't be decrypted any more") from None
    return Answered(told["status"], {**told["headers"], "Idempotency-Replayed": "true"}, told["body"].encode())


def keep(connection: Connection, keyring: Keyring, request: Keyed, answer: Answered) -> None:
    """What is answered from now on."""
    told = {"status": answer.status, "headers": answer.headers, "body": answer.body.decode()}
    sealed = keyring.seal(json.dumps(told), request.context)
    parameters = {**request.names, "key_id": sealed.key_id, "answer": sealed.ciphertext}
    connection.execute(query("idempotency.keep"), parameters)
