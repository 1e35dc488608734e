"""rowhook endpoint rotate"""

from __future__ import annotations

from typing import Annotated

from typer import Option

from relay import endpoints
from relay.cli.endpoint import EndpointId
from relay.cli.output import Json, as_fields, as_json
from relay.cli.secret_options import SecretFile, SecretFrom, given_secret, secret_fields, secret_json
from relay.cli.session import at_work
from relay.sign import Secret, new_secret


def rotate_command(
    endpoint: EndpointId,
    overlap: Annotated[str, Option(help="How long the old secret signs as well; 0s: not at all.", metavar="TIME")] = "24h",
    secret_file: SecretFile = None,
    secret: SecretFrom = None,
    json: Json = False,
) -> None:
    """Give it a new secret, printed this once; both sign until the overlap ends."""
    length = endpoints.parse_overlap(overlap)
    key = given_secret(secret_file, secret) or Secret.parse(new_secret())
    with at_work() as (_, connection):
        row = endpoints.rotate(connection, endpoint, key, length)
    told = {"id": row["public_id"], "overlap_until": row["overlap_until"]}
    if json:
        as_json({**told, **secret_json(key)})
    else:
        as_fields({**told, **secret_fields(key)})
