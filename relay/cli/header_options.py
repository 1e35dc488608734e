"""How an endpoint's own headers come in. Values of secret headers belong into a file or on standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from relay.cli.secret_options import LARGEST_FILE, decoded, read_file
from relay.errors import UserMistake

HeaderOption = Annotated[
    list[str] | None,
    Option("--header", help="A header of its requests; - takes them from standard input. Arguments can be seen by others.",
           metavar="'NAME: VALUE'"),
]  # fmt: skip
HeaderFile = Annotated[Path | None, Option("--header-file", help="Take headers from this file, a line each.", metavar="FILE")]


def given_headers(file: Path | None, options: list[str] | None, secret: str | None) -> list[str] | None:
    """Lines of headers, not parsed yet; None where none are given, an empty list where '' takes them back."""
    if file is None and options is None:
        return None
    lines: list[str] = []
    for option in options or []:
        if option == "-" and secret == "-":
            raise UserMistake("--secret and --header are both to be read from standard input", "give one of them by a file")
        lines += decoded(sys.stdin.buffer.read(LARGEST_FILE), "headers").splitlines() if option == "-" else [option]
    if file is not None:
        lines += decoded(read_file(file, "--header-file"), "headers").splitlines()
    return lines
