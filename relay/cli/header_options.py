"""How an endpoint's own headers come in: from a file or standard input, as secrets do. Authorization is the usual one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from relay.cli.secret_options import LARGEST_FILE, STANDARD_INPUT, decoded, read_file
from relay.errors import UserMistake

HeaderFrom = Annotated[
    str | None,
    Option("--header", help="- takes headers of its requests from standard input, NAME: VALUE a line; '' takes them back.",
           metavar="-"),
]  # fmt: skip
HeaderFile = Annotated[Path | None, Option("--header-file", help="Take headers from this file, a line each.", metavar="FILE")]


def given_headers(file: Path | None, source: str | None, secret_source: str | None) -> list[str] | None:
    """Lines of headers, not parsed yet; None where none are given, an empty list where '' takes them back."""
    if source not in (None, STANDARD_INPUT, ""):
        raise UserMistake(
            "--header takes no header: a command line can be seen by others", "give --header - or --header-file FILE"
        )
    if file is not None and source is not None:
        raise UserMistake("--header and --header-file are both given", "give one of them")
    if source == STANDARD_INPUT and secret_source == STANDARD_INPUT:
        raise UserMistake("--secret and --header are both to be read from standard input", "give one of them by a file")
    if file is not None:
        return decoded(read_file(file, "--header-file"), "headers").splitlines()
    if source == STANDARD_INPUT:
        return decoded(sys.stdin.buffer.read(LARGEST_FILE), "headers").splitlines()
    return None if source is None else []
