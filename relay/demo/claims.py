"""Pure: what the writer committed, what the receiver got and what Rowhook has on record -> claims that hold or don't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay.demo.ledger import Change, Ledger
from relay.demo.receiver import ALL, BROKEN_HOOK, FLAKY, FLAKY_FAILURES, OK, USER, Hook, Receipt

TRIES = 4  # one, and three retries
NAMED = 3  # of what is missing or too much, so many are named


@dataclass(frozen=True)
class Evidence:
    """``on_record``: delivery id, number and status of each attempt; ``dead``: path, event id, attempts of each dead letter."""

    ledger: Ledger
    journal: Sequence[Receipt]
    on_record: Sequence[tuple[str, int, int | None]]
    dead: Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class Claim:
    text: str
    expected: str
    received: str
    holds: bool
    detail: str = ""


def check(evidence: Evidence) -> list[Claim]:
    """Every claim; those on events compare operation, row and values of each."""
    return [claim(evidence) for claim in _CLAIMS]


def expected_at(hook: Hook, ledger: Ledger) -> Counter[Change]:
    return Counter(change for change in ledger.committed if hook.wants(change))


def _events(journal: Iterable[Receipt], hook: Hook, status: int) -> list[Receipt]:
    """The first request of each event that the hook answered so; a receiver drops repeats by webhook-id."""
    first: dict[str, Receipt] = {}
    for receipt in journal:
        if receipt.path == hook.path and receipt.status == status:
            first.setdefault(receipt.event_id, receipt)
    return list(first.values())


def _same(text: str, expected: Counter[Change], received: Counter[Change]) -> Claim:
    detail = _difference("missing", expected - received) + _difference("too many", received - expected)
    return Claim(text, f"{expected.total()} events", f"{received.total()}", expected == received, "; ".join(detail))


def _difference(word: str, changes: Counter[Change]) -> list[str]:
    if not changes:
        return []
    named = [f"{change.op} {change.row}" for change in list(changes.elements())[:NAMED]]
    return [f"{word}: {', '.join(named)}" + (" …" if changes.total() > NAMED else "")]


def _everything(evidence: Evidence) -> Claim:
    received = Counter(receipt.change for receipt in _events(evidence.journal, ALL, OK))
    return _same(f"{ALL.path}: every change that was committed", expected_at(ALL, evidence.ledger), received)


def _one_tenant(evidence: Evidence) -> Claim:
    received = Counter(receipt.change for receipt in _events(evidence.journal, USER, OK))
    return _same(f"{USER.path}: theirs, and nobody else's", expected_at(USER, evidence.ledger), received)


def _rolled_back(evidence: Evidence) -> Claim:
    never = set(evidence.ledger.rolled_back)
    arrived = {receipt.change for receipt in evidence.journal} & never
    return Claim(f"{len(never)} changes that were rolled back", "0 events", f"{len(arrived)}", bool(never) and not arrived)


def _without_effect(evidence: Evidence) -> Claim:
    empty = [receipt for receipt in evidence.journal if receipt.change.op == "updated" and not receipt.change.previous]
    count = evidence.ledger.without_effect
    return Claim(f"{count} updates that changed nothing", "0 events", f"{len(empty)}", count > 0 and not empty)


def _verified(evidence: Evidence) -> Claim:
    good = sum(receipt.verified for receipt in evidence.journal)
    total = len(evidence.journal)
    return Claim("requests whose two signatures verify", f"{total} requests", f"{good}", 0 < total == good)


def _same_bytes(evidence: Evidence) -> Claim:
    bodies: dict[str, set[bytes]] = {}
    for receipt in evidence.journal:
        bodies.setdefault(receipt.event_id, set()).add(receipt.body)
    same = sum(len(of_event) == 1 for of_event in bodies.values())
    return Claim("events with the same bytes at each attempt", f"{len(bodies)} events", f"{same}", 0 < len(bodies) == same)


def _retried(evidence: Evidence) -> Claim:
    receipts = _events(evidence.journal, FLAKY, OK)
    wanted = expected_at(FLAKY, evidence.ledger)
    in_time = Counter(receipt.change for receipt in receipts if receipt.attempt == FLAKY_FAILURES + 1)
    return _same(f"{FLAKY.path}: each at attempt {FLAKY_FAILURES + 1}, after {FLAKY_FAILURES} failures", wanted, in_time)


def _dead_letters(evidence: Evidence) -> Claim:
    """The events of the hook that never answers well, after all tries; and no other."""
    seen = {receipt.event_id: receipt.change for receipt in evidence.journal if receipt.path == BROKEN_HOOK.path}
    dead = Counter(
        seen.get(event_id, Change("unknown", event_id, frozenset()))
        for path, event_id, attempts in evidence.dead
        if path == BROKEN_HOOK.path and attempts == TRIES
    )
    claim = _same(f"{BROKEN_HOOK.path}: dead letters after {TRIES} attempts", expected_at(BROKEN_HOOK, evidence.ledger), dead)
    others = len(evidence.dead) - dead.total()
    return Claim(claim.text, claim.expected, str(len(evidence.dead)), claim.holds and not others, claim.detail)


def _on_record(evidence: Evidence) -> Claim:
    saw = Counter((receipt.delivery_id, receipt.attempt, receipt.status) for receipt in evidence.journal)
    recorded = Counter(evidence.on_record)
    holds = bool(saw) and saw == recorded
    return Claim("attempts on record, with the status seen", f"{saw.total()} requests", f"{recorded.total()}", holds)


_CLAIMS: tuple[Callable[[Evidence], Claim], ...] = (
    _everything,
    _one_tenant,
    _retried,
    _dead_letters,
    _rolled_back,
    _without_effect,
    _verified,
    _same_bytes,
    _on_record,
)
