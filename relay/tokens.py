"""Tokens of operators: several, named, kept as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from relay.errors import UserMistake

SHORTEST = 16
ONLY = "operator"  # what the one token is called that has no name

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
# RFC 6750, section 2.1: what may stand behind "Bearer".
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Names with the SHA-256 of each token. A token is random, so one hash is enough."""

    known: tuple[tuple[str, bytes], ...] = ()

    def who(self, token: str) -> str | None:
        """The name of this token; all are compared, whichever fits."""
        digest = _digest(token)
        found = None
        for name, known in self.known:
            if hmac.compare_digest(known, digest):
                found = name
        return found


def parse_tokens(text: str) -> Tokens:
    """``name:token,name2:token2``, or one bare token; what is wrong is said without showing one."""
    pairs = [_pair(part.strip()) for part in text.split(",") if part.strip()]
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserMistake(f"two tokens are called {min(twice)}", "give each a name of its own: alice:TOKEN,ci:TOKEN2")
    return Tokens(tuple((name, _digest(token)) for name, token in pairs))


def _pair(text: str) -> tuple[str, str]:
    name, colon, token = text.partition(":")
    if not colon:
        name, token = ONLY, text
    if not _NAME.fullmatch(name):
        raise UserMistake("the name of a token is none", "give letters, digits, dots, _ and -: alice:TOKEN")
    if not _TOKEN.fullmatch(token) or len(token) < SHORTEST:
        raise UserMistake(
            f"the token called {name} is too short, or holds a character that a Bearer token can't",
            f"give {SHORTEST} or more letters and digits, e.g. by: openssl rand -hex 32",
        )
    return name, token


def _digest(token: str) -> bytes:
    return hashlib.sha256(b"rowhook token\0" + token.encode()).digest()
