"""Public ids: ``evt_01KDX…``, sortable by time, computed from the row.

The same as SQL ``rowhook.public_id`` (sql/0001-schema.sql): 26 characters of Crockford's base 32
(https://www.crockford.com/base32.html), as long as a ULID's and in the same order (https://github.com/ulid/spec),
which hold 130 bits: 2 that are zero, 48 of milliseconds since 1970, 64 of the row's id, 16 of its slot.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from relay.errors import UserMistake

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 26

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# Two characters at a time: 10 bits.
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_DIGITS: Final = {character: value for value, character in enumerate(ALPHABET)}


def public_id(prefix: str, made_at: datetime, id: int, slot: int = 0) -> str:
    """The public id of a row: its time (floored to milliseconds, as the SQL does), id and slot."""
    return id_at(prefix, (made_at - _EPOCH) // _MILLISECOND, id, slot)


def id_at(prefix: str, milliseconds: int, id: int, slot: int = 0) -> str:
    """The same of a time in milliseconds since 1970."""
    # Masked as SQL's casts to bit(n) do it: two's complement, the low bits.
    low = (id & 0xFFFF_FFFF_FFFF_FFFF) << 16 | slot & 0xFFFF
    pairs = _PAIRS
    return (
        f"{prefix}_{_time(milliseconds)}{_upper(low >> 40)}"
        f"{pairs[low >> 30 & 1023]}{pairs[low >> 20 & 1023]}{pairs[low >> 10 & 1023]}{pairs[low & 1023]}"
    )


# The halves that many ids share: rows of one millisecond, ids of one range.
@lru_cache(1024)
def _time(milliseconds: int) -> str:
    return _digits(milliseconds & 0xFFFF_FFFF_FFFF, 5)


@lru_cache(1024)
def _upper(bits: int) -> str:
    return _digits(bits, 4)


def _digits(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> 10 * place & 1023] for place in reversed(range(pairs))])


def parse(text: str, prefix: str) -> tuple[int, int]:
    """Id and slot that a public id holds, in either case of letters.

    It says where to look, not that there is such a row: compare the row's own public id with what was given.
    """
    given = text if len(text) <= 60 else f"{text[:59]}…"
    refused = f"{given!a} is not an id of this kind"
    # Beyond ASCII some letters have an ASCII upper case: the long s, the dotless i.
    if not text.isascii() or text[: len(prefix) + 1].lower() != f"{prefix}_":
        raise UserMistake(refused, f"give one that begins with {prefix}_")
    digits = text[len(prefix) + 1 :].upper()
    if len(digits) != LENGTH:
        raise UserMistake(refused, f"{LENGTH} characters follow {prefix}_, these are {len(digits)}")
    number = 0
    for character in digits:
        value = _DIGITS.get(character)
        if value is None:
            raise UserMistake(refused, f"after {prefix}_ come digits, and letters other than I, L, O and U")
        number = number << 5 | value
    id = number >> 16 & 0xFFFF_FFFF_FFFF_FFFF
    if number >> 128 or id >> 63:
        raise UserMistake(refused, f"copy it whole from where it was shown: no {prefix}_ id is so high")
    return id, number & 0xFFFF
