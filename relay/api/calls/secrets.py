"""A webhook's next secret."""

from __future__ import annotations

from relay import endpoints
from relay.api.call import Call
from relay.api.models.webhook import NewSecret, RotateSecret
from relay.api.operation import operation
from relay.api.problem import about
from relay.sign import parse_signer

TAG = "webhooks"


@operation("POST", "/webhooks/{id}/rotate-secret", tag=TAG, refuses=(404,))
def rotate_secret(call: Call, id: str, body: RotateSecret) -> NewSecret:
    """Give it a new secret, shown this once; both sign until the overlap ends."""
    endpoint = call.webhook(id, lock=True)
    scheme = body.scheme or (None if body.secret else endpoints.scheme_of(call.connection, endpoint))
    with about("secret"):
        secret = endpoints.chosen(parse_signer(body.secret) if body.secret else None, scheme)
    row = endpoints.rotate(call.connection, call.actor, call.keyring, id, secret, endpoints.parse_overlap(body.overlap))
    call.etag(row["revision"])
    return NewSecret(id=row["public_id"], overlap_until=row["overlap_until"], **endpoints.shown_once(secret))
