"""How an endpoint's private authority and client certificate come in: from files in PEM."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from typer import Option

from relay.cli.secret_options import read_file
from relay.errors import UserMistake
from relay.identity import LARGEST, Change, parse_authority, parse_client
from relay.tls import check_identity

CaFile = Annotated[
    str | None,
    Option("--ca-file", help="PEM file of the authorities that may vouch for it, no others; '' takes them back.", metavar="FILE"),
]  # fmt: skip
ClientCert = Annotated[
    str | None,
    Option("--client-cert", help="PEM file of a certificate to show to it; '' takes it back.", metavar="FILE"),
]
ClientKey = Annotated[
    str | None, Option("--client-key", help="The key of that, where it is not in the same file.", metavar="FILE")
]


def given_identity(ca_file: str | None, client_cert: str | None, client_key: str | None) -> Change:
    """Checked; raises UserMistake."""
    if client_key is not None and not client_cert:
        raise UserMistake("--client-key is given without --client-cert", "give both; the key alone says nothing")
    now = datetime.now(UTC)
    authority = parse_authority(_read(ca_file, "--ca-file"), now) if ca_file else ca_file
    client: tuple[str, str] | None = None
    if client_cert:
        certificate = _read(client_cert, "--client-cert")
        client = parse_client(certificate, _read(client_key, "--client-key") if client_key else certificate, now)
    elif client_cert is not None:
        client = ("", "")
    change = Change(authority, client)
    if change:
        check_identity(change.alone)
    return change


def _read(file: str, option: str) -> bytes:
    return read_file(Path(file), option, LARGEST + 1)
