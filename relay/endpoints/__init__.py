"""Endpoints, for people: what may be said of one (given), what there is (shown), what changes it (change, discard)."""

from relay.endpoints.change import activate, add, edit, notify, ordered_ahead, pause, remove, resume, rotate
from relay.endpoints.discard import give_up, let_pass
from relay.endpoints.given import (
    ED25519,
    HMAC,
    check_destination,
    chosen,
    parse_fields,
    parse_overlap,
    parse_patterns,
    parse_scheme,
    spell,
    spelled,
)
from relay.endpoints.past import give_past
from relay.endpoints.shown import described, details, everything, find, find_present, scheme_of, shown_once

__all__ = [
    "ED25519",
    "HMAC",
    "activate",
    "add",
    "check_destination",
    "chosen",
    "described",
    "details",
    "edit",
    "everything",
    "find",
    "find_present",
    "give_past",
    "give_up",
    "let_pass",
    "notify",
    "ordered_ahead",
    "parse_fields",
    "parse_overlap",
    "parse_patterns",
    "parse_scheme",
    "pause",
    "remove",
    "resume",
    "rotate",
    "scheme_of",
    "shown_once",
    "spell",
    "spelled",
]
