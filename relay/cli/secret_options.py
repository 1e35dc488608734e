"""How a secret comes in: from a file or standard input, never as an argument, which every process of the machine can read."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from relay.endpoints import shown_once
from relay.errors import UserMistake
from relay.sign import Signer, parse_signer
from relay.sign_ed25519 import SigningKey

LARGEST_FILE = 10_000
STANDARD_INPUT = "-"

SecretFile = Annotated[Path | None, Option("--secret-file", help="Take the secret from this file.", metavar="FILE")]
SecretFrom = Annotated[str | None, Option("--secret", help="- takes the secret from standard input.", metavar="-")]

Scheme = Annotated[
    str | None,
    Option("--scheme", help="By what it is signed: hmac, or ed25519, which the public key verifies.", metavar="SCHEME"),
]


def given_secret(file: Path | None, source: str | None) -> Signer | None:
    """The secret of these options, None where there is none; raises UserMistake, which never shows it."""
    if source not in (None, STANDARD_INPUT):
        raise UserMistake(
            "--secret takes no secret: a command line can be seen by others", "give --secret - or --secret-file FILE"
        )
    if file is not None and source is not None:
        raise UserMistake("--secret and --secret-file are both given", "give one of them")
    if file is not None:
        return parse_signer(_text(read_file(file, "--secret-file")))
    if source is not None:
        return parse_signer(getpass.getpass("Secret: ") if sys.stdin.isatty() else _text(sys.stdin.buffer.read(LARGEST_FILE)))
    return None


def read_file(file: Path, option: str, most: int = LARGEST_FILE) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(most)
    except OSError as error:
        raise UserMistake(
            f"{option} {str(file)!r} can't be read ({error.strerror})", "name a file that this user can read"
        ) from None


def _text(data: bytes) -> str:
    """The first line's end is not part of the secret."""
    return decoded(data, "secret").removesuffix("\n").removesuffix("\r")


def decoded(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UserMistake(f"the {what} is not UTF-8 text", "give one of them on a line") from None


def secret_fields(secret: Signer) -> dict[str, Any]:
    """For people: what is shown this once, with the use of each form."""
    if isinstance(secret, SigningKey):
        return {"public_key": f"{secret.public}  (verifies v1a signatures; endpoint show has it too)"}
    if secret.text == secret.whsec:
        return {"secret": f"{secret.text}  (shown this once)"}
    return {
        "secret": f"{secret.text}  (key of X-Hub-Signature-256; shown this once)",
        "secret_whsec": f"{secret.whsec}  (the same for Standard Webhooks libraries)",
    }


def secret_json(secret: Signer) -> dict[str, Any]:
    return shown_once(secret)
