"""Is this text a URL that webhooks may be sent to? Checked when an endpoint is saved.

Every reader of a URL must understand the same host. So names that some resolver takes for an address in
disguise (2130706433, 0x7f.1, 127.1, full-width digits) are refused rather than understood, as are the parts
that have no place in a webhook's URL. Grammar: RFC 3986; names: RFC 1123 and, beyond ASCII, IDNA 2008;
IPv6: RFC 5952. Whether requests may go where it leads is said by guard.py.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import quote

import idna

from relay.address import ends_in_a_number
from relay.errors import UserMistake

LONGEST_URL: Final = 2048
LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63

_SHAPE: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?P<port>:.*)?")
# Compose and Windows know hosts with an underscore; DNS itself has nothing against one.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_PORT: Final = re.compile(r":([1-9][0-9]{0,4})")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What may stand in path and query (RFC 3986, section 3.3 and 3.4); everything else is percent-encoded.
_KEPT: Final = "/?:@!$&'()*+,;=-._~%"
_EXAMPLE: Final = "give one such as https://example.com/hook"


def check_url(text: str) -> str:
    """The URL in the form to store: scheme and host in lower-case ASCII, path and query percent-encoded.

    A good URL in ASCII comes back as it was given, but for the case of scheme and host.
    """
    refused = f"the URL {_shown_url(text)}"
    if len(text) > LONGEST_URL:
        raise UserMistake(f"{refused} has {len(text)} characters", f"give {LONGEST_URL} at most")
    unseen = next((character for character in text if _is_unseen(character)), None)
    if unseen is not None:
        raise UserMistake(
            f"{refused} holds the character {unseen!a}",
            "give it without white space and control characters; %20 is a space",
        )
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise UserMistake(f"{refused} does not begin with https:// or http://", _EXAMPLE)
    if "@" in match["authority"]:
        raise UserMistake(
            f"{refused} holds a user name or password",
            "leave out what stands before the @; receivers verify the signature",
        )
    if "#" in match["rest"]:
        raise UserMistake(f"{refused} has a fragment", "leave out what begins with #, it is never sent")
    parts = _AUTHORITY.fullmatch(match["authority"])
    if parts is None or not parts["host"]:
        raise UserMistake(f"{refused} names no host", _EXAMPLE)
    port = parts["port"] or ""
    if port and not (_PORT.fullmatch(port) and int(port[1:]) <= 65535):
        raise UserMistake(f"{refused} has a port that is none", "give a number from 1 to 65535, or no colon")
    if bad := _BAD_PERCENT.search(match["rest"]):
        raise UserMistake(
            f"{refused} holds {_shown(match['rest'][bad.start() : bad.start() + 3])}",
            "two hexadecimal digits follow a %; write %25 for the sign itself",
        )
    host, rest = _check_host(parts["host"]), quote(match["rest"], safe=_KEPT)
    url = f"{match['scheme'].lower()}://{host}{port}{rest}"
    if len(url) > LONGEST_URL:
        raise UserMistake(f"{refused} has {len(url)} characters when encoded", f"give {LONGEST_URL} at most")
    return url


def _is_unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cs")


def _check_host(text: str) -> str:
    refused = f"the host {_shown(text)}"
    if text.startswith("["):
        return _check_ipv6(text)
    if "%" in text:
        raise UserMistake(f"{refused} is percent-encoded", "write its characters themselves")
    if text.endswith("."):
        raise UserMistake(f"{refused} ends in a dot", "leave out that dot")
    name = _to_ascii(text)
    labels = name.split(".")
    if ends_in_a_number(name):
        return _check_ipv4(text)
    if len(name) > LONGEST_NAME:
        raise UserMistake(f"{refused} has {len(name)} characters", f"a DNS name has {LONGEST_NAME} at most")
    for label in labels:
        if len(label) > LONGEST_LABEL:
            raise UserMistake(
                f"the host's part {_shown(label)} has {len(label)} characters",
                f"between two dots stand {LONGEST_LABEL} at most",
            )
        if not _LABEL.fullmatch(label):
            raise UserMistake(
                f"{refused} is not a DNS name",
                "between dots stand letters and digits, with hyphens inside",
            )
    return name


def _to_ascii(text: str) -> str:
    """A name in lower-case ASCII. IDNA maps nothing here: what only looks like a digit or dot is refused."""
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(unicodedata.normalize("NFC", text.lower()), strict=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise UserMistake(
            f"the host {_shown(text)} is not a valid international name",
            "use letters, ordinary digits, hyphens and dots, or its xn-- form",
        ) from None


def _check_ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))  # knows no other form than four decimals without leading zeros
    except ValueError:
        raise UserMistake(
            f"the host {_shown(text)} is neither a DNS name nor an address in canonical form",
            "write an IPv4 address as four decimal numbers, such as 192.0.2.1",
        ) from None


def _check_ipv6(text: str) -> str:
    refused = f"the host {_shown(text)}"
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        raise UserMistake(f"{refused} is not an IPv6 address", "write one such as [2001:db8::1]") from None
    if address.scope_id is not None:
        raise UserMistake(f"{refused} names a network interface", "leave out what begins with %")
    if address.ipv4_mapped is not None:
        raise UserMistake(f"{refused} is an IPv4 address in disguise", f"write {address.ipv4_mapped}")
    if address.compressed != text[1:-1].lower():
        raise UserMistake(f"{refused} is not in canonical form", f"write [{address.compressed}]")
    return f"[{address.compressed}]"


def _shown_url(text: str) -> str:
    """A URL as an error may show it: without what could be a password."""
    before, at, after = text.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return _shown(f"{scheme}{separator}...@{after}" if separator else f"...@{after}") if at else _shown(text)


def _shown(text: str) -> str:
    """A text as an error may show it: one line, nothing that moves a terminal's cursor, not too long."""
    shown = ascii(text)
    return shown if len(shown) <= 82 else f"{shown[:78]}...{shown[-1]}"
