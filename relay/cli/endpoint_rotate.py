"""rowhook endpoint rotate"""

from __future__ import annotations

from typing import Annotated

from typer import Option

from relay import endpoints
from relay.audit import by_command
from relay.cli.endpoint import EndpointId
from relay.cli.output import Json, as_fields, as_json
from relay.cli.secret_options import Scheme, SecretFile, SecretFrom, given_secret, secret_fields, secret_json
from relay.cli.session import at_work_with_keys


def rotate_command(
    endpoint: EndpointId,
    overlap: Annotated[str, Option(help="How long the old secret signs as well; 0s: not at all.", metavar="TIME")] = "24h",
    secret_file: SecretFile = None,
    secret: SecretFrom = None,
    scheme: Scheme = None,
    json: Json = False,
) -> None:
    """Give it a new secret, printed this once; both sign until the overlap ends."""
    length = endpoints.parse_overlap(overlap)
    wanted = scheme and endpoints.parse_scheme(scheme)
    given = given_secret(secret_file, secret)
    with at_work_with_keys() as (_, connection, keyring):
        present = endpoints.scheme_of(connection, endpoints.find_present(connection, endpoint))
        key = endpoints.chosen(given, wanted or (None if given else present))
        row = endpoints.rotate(connection, by_command(), keyring, endpoint, key, length)
    told = {"id": row["public_id"], "overlap_until": row["overlap_until"]}
    if json:
        as_json({**told, **secret_json(key)})
    else:
        as_fields({**told, **secret_fields(key)})
