"""The twelve invariants, and two more: each a pure function of the evidence, in the words of its promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.torture.invariants.afterwards import doctor_content, tables_verified
from tests.torture.invariants.attempts import numbered_without_gap, on_record, within_schedule
from tests.torture.invariants.bodies import same_bytes_and_verified
from tests.torture.invariants.leases import no_lease_of_the_dead
from tests.torture.invariants.order import in_order
from tests.torture.invariants.quiet import nothing_left
from tests.torture.invariants.received import committed_was_received, received_was_committed
from tests.torture.invariants.twice import not_at_two_relays, not_twice
from tests.torture.invariants.writing import writers_unharmed
from tests.torture.records import Evidence, Verdict


class Invariant(NamedTuple):
    number: int
    says: str
    check: Callable[[Evidence], Verdict]


INVARIANTS = (
    Invariant(1, "what committed was received, or is dead or pending with a cause", committed_was_received),
    Invariant(2, "nothing was received that didn't commit", received_was_committed),
    Invariant(3, "a delivery's bytes were equal on each attempt, and verified", same_bytes_and_verified),
    Invariant(4, "each request seen has an attempt row, each status was seen", on_record),
    Invariant(5, "attempts are numbered 1..n without a gap", numbered_without_gap),
    Invariant(6, "no delivery in flight at two live relays at once", not_at_two_relays),
    Invariant(7, "ordered endpoints saw each key in order", in_order),
    Invariant(8, "no more tries than the schedule allows", within_schedule),
    Invariant(9, "no lease owned by a dead process for more than 2 s", no_lease_of_the_dead),
    Invariant(10, "after quiet, nothing is pending that should be sent", nothing_left),
    Invariant(11, "no duplicate but across a crash, a freeze, a partition, a lost answer", not_twice),
    Invariant(12, "writers never got an error from Rowhook", writers_unharmed),
    Invariant(13, "rowhook verify accounts for every row", tables_verified),
    Invariant(14, "rowhook doctor finds nothing bad", doctor_content),
)
