"""Requests made from the served document by schemathesis, all of its checks on: as the operator, and as a tenant.

python -m tests.api.fuzz [--requests N] [--seed S]    serves the API on a Postgres of its own, and says what was found

Nothing is left out but what a document can't say: which of two well-formed URLs may be sent to is known when it is resolved.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from relay.api.calls import stream
from tests.api import fuzz_hooks
from tests.api.conftest import TOKEN, Served, token_of
from tests.cluster import Cluster, postgres_under_test

ROOT = Path(__file__).parents[2]
# 422 is what a schema can't say; every other status is what it says.
CONFIG = """\
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "406", "408", "409", "412", "413", "415", "422", "429"]
"""


@dataclass
class Found:
    """What came of a run."""

    code: int
    said: str
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return self.statuses.total()

    @property
    def is_clean(self) -> bool:
        return self.code == 0 and not [status for status in self.statuses if status >= 500]


def fuzz(port: int, token: str, examples: int, seed: int, *options: str) -> Found:
    """Against an API that is served there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(CONFIG)
        command = [
            *(sys.executable, "-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"),
            *("run", f"http://127.0.0.1:{port}/openapi.json", "--checks", "all", "--seed", str(seed)),
            *(
                "--max-examples",
                str(examples),
                "--header",
                f"Authorization: Bearer {token}",
                "--no-color",
                "--generation-database",
                "none",
            ),
            *("--report", "ndjson", "--report-ndjson-path", "told.ndjson", *options),
        ]
        hooks = {"SCHEMATHESIS_HOOKS": fuzz_hooks.__name__, "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", **hooks}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        told = Path(folder) / "told.ndjson"
        return Found(done.returncode, done.stdout + done.stderr, statuses(told.read_text() if told.exists() else ""))


def streams_end_at_once() -> None:
    """Who asks for one waits for its end."""
    stream.LONGEST, stream.HEARTBEAT = 0.1, 0.05


def statuses(report: str) -> Counter[int]:
    """Of every answer in a report."""
    return Counter(int(found) for found in re.findall(r'"status_code": ?([0-9]{3})', report))


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--requests", type=int, default=5000)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    cluster = Cluster.start(*postgres_under_test())
    try:
        return _until_enough(cluster, given.requests, given.seed)
    finally:
        cluster.remove()


def _until_enough(cluster: Cluster, requests: int, seed: int) -> int:
    """Run after run with other seeds, until there were so many; what failed at first is said."""
    from relay.migrations import migrate

    streams_end_at_once()
    dsn = cluster.dsn(cluster.create_database())
    migrate(dsn)
    api = Served(dsn, api_rate="0", max_endpoints_per_tenant="0")
    api.start()
    total: Counter[int] = Counter()
    try:
        while total.total() < requests:
            for token in (TOKEN, token_of("7")):
                found = fuzz(api.port, token, 60, seed)
                total += found.statuses
                if not found.is_clean:
                    sys.stdout.write(found.said)
                    return 1
            seed += 1
    finally:
        api.stop()
    sys.stdout.write(json.dumps({"requests": total.total(), "by status": dict(sorted(total.items()))}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
