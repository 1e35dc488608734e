"""What Rowhook's own examinations say when all is quiet: beside the twelve, which never take its word alone."""

from __future__ import annotations

from tests.torture.records import Evidence, Verdict


def tables_verified(evidence: Evidence) -> Verdict:
    """`rowhook verify` finds no row of any table that its events don't account for."""
    violations = [
        f"{table}: {len(rows)} rows differ, for instance {rows[0]}" for table, rows in evidence.differing.items() if rows
    ]
    return Verdict(len(evidence.differing), violations)


def doctor_content(evidence: Evidence) -> Verdict:
    """`rowhook doctor` finds nothing bad; dead letters and what the nemesis left behind are warnings."""
    return Verdict(evidence.examined, list(evidence.ailments))
