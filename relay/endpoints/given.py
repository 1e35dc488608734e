"""What a person may say of an endpoint, checked: texts of options and of the API's fields become values of columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from relay.config import LONGEST_TIMEOUT, Settings, duration
from relay.database import Row
from relay.errors import UserMistake
from relay.guard import check_saved
from relay.retry import parse_schedule
from relay.sign import Signer, new_secret, parse_signer
from relay.sign_ed25519 import SigningKey
from relay.url import check_url
from relay.wishes import parse_filter, parse_rate

MOST_PATTERNS = 100
MOST_IN_FLIGHT = 10_000
LONGEST_TEXT = 500
HMAC, ED25519 = "hmac", "ed25519"

_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?")
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


def parse_patterns(text: str) -> list[str]:
    """``expense.*,bill.paid`` as a list, each pattern once."""
    patterns = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern) or len(pattern) > LONGEST_TEXT:
            shown = repr(pattern if len(pattern) <= 80 else f"{pattern[:79]}…")
            raise UserMistake(
                f"{shown} is not a pattern of event types", "give *, expense.* or expense.created, with commas between"
            )
    if len(patterns) > MOST_PATTERNS:
        raise UserMistake(f"these are {len(patterns)} patterns", f"give {MOST_PATTERNS} at most; expense.* stands for many")
    return patterns


def parse_retry(text: str) -> list[timedelta] | None:
    """Waits between tries; empty: as ROWHOOK_RETRY_SCHEDULE says."""
    return list(parse_schedule(text)) if text else None


def parse_timeout(text: str) -> timedelta | None:
    """Total time of one attempt; empty: as ROWHOOK_TIMEOUT says."""
    if not text:
        return None
    timeout = one_duration(text, "timeout")
    if timeout > LONGEST_TIMEOUT:
        raise UserMistake(f"the timeout {text!r} is longer than a day", f"give {spell(LONGEST_TIMEOUT)} at most, e.g. 15s")
    return timeout


def one_duration(text: str, what: str) -> timedelta:
    try:
        return duration(text)
    except UserMistake:
        raise UserMistake(
            f"the {what} {text!r} is not a duration above zero", "give a number and a unit, e.g. 15s, 5min, 24h"
        ) from None


def parse_overlap(text: str) -> timedelta:
    """How long an old secret goes on signing; 0s ends it at once."""
    return timedelta() if re.fullmatch(r"0 ?[a-z]*", text.strip()) else one_duration(text, "overlap")


def parse_max_in_flight(text: str) -> int | None:
    """Requests at once from one relay; empty: the relay's default."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_IN_FLIGHT:
        raise UserMistake(f"{text!r} is not a number of requests at once", f"give 1 to {MOST_IN_FLIGHT}")
    return int(text)


def parse_text(text: str, what: str) -> str | None:
    """A tenant or a description; empty: none."""
    if len(text) > LONGEST_TEXT:
        raise UserMistake(f"the {what} has {len(text)} characters", f"give {LONGEST_TEXT} at most")
    return text or None


def parse_fields(given: Mapping[str, str | None]) -> Row:
    """The columns that these options set; those that are None set nothing."""
    parsers: dict[str, Any] = {
        "url": check_url,
        "events": parse_patterns,
        "tenant": lambda text: parse_text(text, "tenant"),
        "description": lambda text: parse_text(text, "description"),
        "retry_schedule": parse_retry,
        "timeout": parse_timeout,
        "max_in_flight": parse_max_in_flight,
        "filter": parse_filter,
        "rate": parse_rate,
    }
    return {name: parsers[name](text) for name, text in given.items() if text is not None}


def parse_scheme(text: str) -> str:
    if text not in (HMAC, ED25519):
        raise UserMistake(f"{text!r} is not a scheme of signatures", f"give {HMAC} or {ED25519}")
    return text


def chosen(given: Signer | None, scheme: str | None, default: str = "") -> Signer:
    """The secret that was given, which must fit the scheme; else the default one, which is by HMAC, or a random one."""
    if given is not None:
        is_by = ED25519 if isinstance(given, SigningKey) else HMAC
        if scheme not in (None, is_by):
            raise UserMistake(f"the secret is one for {is_by}, not for {scheme}", "ed25519 takes whsk_…, hmac anything else")
        return given
    if scheme == ED25519:
        return SigningKey.new()
    return parse_signer(default or new_secret())


def check_destination(fields: Row, settings: Settings) -> None:
    """Requests may go to the URL among these columns, if there is one; raises UserMistake. When dialled it is judged again."""
    if "url" in fields:
        check_saved(fields["url"], settings)


def spelled(waits: Sequence[timedelta] | None) -> str | None:
    """A schedule as --retry takes it."""
    return None if waits is None else ",".join(map(spell, waits)) or "none"


def spell(wait: timedelta) -> str:
    for unit, length in _UNITS:
        if wait >= length and not wait % length:
            return f"{wait // length}{unit}"
    return f"{wait.total_seconds():f}".rstrip("0").rstrip(".") + "s"
