"""What the ways of capturing cost writers: each beside the bare table, in one run, in turn.

One client inserts single rows, inserts 1,000 rows at once, and updates 1,000 rows at once. A writer that says who it is
(rowhook.actor) and one that doesn't differ by what looking for it costs. Each variant has a database of its own on one server.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import Figure, Say, Size, figure
from benchmarks.pgbench import Load, Run, empty, pgbench
from benchmarks.server import CAPTURE, Server
from benchmarks.writers import ONE, ROWS, SINGLE

ROUNDS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 7, Size.FULL: 3}
SECONDS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 1, Size.FULL: 2}

UPDATE = "UPDATE expenses SET amount = amount + 1 WHERE id <= 1000;"
UPDATES = Load("updates", UPDATE, clients=1, rows=1000)
SAID = Load("said", f"BEGIN;\nSET LOCAL rowhook.actor = 'alice';\n{SINGLE}COMMIT;\n", clients=1)

PLAIN = "plain"
CATEGORIES = """
CREATE TABLE categories (id serial PRIMARY KEY, name text);
INSERT INTO categories (name) SELECT 'category ' || i FROM generate_series(1, 12) AS i;
ALTER TABLE expenses ADD FOREIGN KEY (category_id) REFERENCES categories;
"""
PARTITIONED = """
ALTER TABLE expenses RENAME TO old;
CREATE TABLE expenses (LIKE old INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE expenses_0 PARTITION OF expenses FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE expenses_1 PARTITION OF expenses FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX ON expenses (user_id, spent_at DESC);
"""
RULE = "SELECT rowhook.rule('expense.{0}_{1}', on_table => 'expenses', op => '{0}', predicate => 'new.amount::int % 100 = {1}')"


def _with(options: str) -> str:
    return f"SELECT rowhook.capture('expenses', tenant => 'user_id', {options})"


def _rules(count: int) -> tuple[str, ...]:
    """Of insert and of update each; they hold for one row in a hundred."""
    return tuple(RULE.format(op, i) for op in ("insert", "update") for i in range(count))


# What is compared, and what makes it.
VARIANTS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    "plain capture": (CAPTURE,),
    "excluded columns": (_with("exclude => '{notes,currency}'"),),
    "redaction": (_with("""redact => '{"notes": "sha256", "currency": "mask"}'"""),),
    "limit of size": (_with("max_size => 65536"),),
    "one rule beside it": (CAPTURE, *_rules(1)),
    "five rules beside it": (CAPTURE, *_rules(5)),
    "one rule alone": _rules(1),
    "two captures": (CAPTURE, _with("name => 'audit', include => '{id,amount}'")),
    "row mode": (_with("key => '{}'"),),
    "enrich, not captured": (CATEGORIES,),
    "enrich": (CATEGORIES, _with("""enrich => '{"category_name": "category_id.name"}'""")),
    "partitions, not captured": (PARTITIONED,),
    "partitions": (PARTITIONED, CAPTURE),
}
AGAINST = {"enrich": "enrich, not captured", "partitions": "partitions, not captured"}
LOADS = (ONE, ROWS, UPDATES)
NAMES = {ONE: "single inserts", ROWS: "inserts of 1,000", UPDATES: "updates of 1,000", SAID: "single inserts"}
FILL = """
INSERT INTO expenses (id, user_id, category_id, amount)
SELECT i, 1 + i % 1000, 1 + i % 12, i / 100.0 FROM generate_series(1, 1000) AS i
"""


def run(size: Size, say: Say) -> list[Figure]:
    with Server() as server:
        for name, statements in VARIANTS.items():
            server.database(name, *statements)
        loads = LOADS[-1:] if size is Size.TINY else LOADS  # that it runs is seen by one of them
        figures = [figure for load in loads for figure in _costs(server, load, size, say)]
        return figures + _said(server, size, say)


def _costs(server: Server, load: Load, size: Size, say: Say) -> list[Figure]:
    found: dict[str, list[Run]] = {name: [] for name in VARIANTS}
    for number in range(ROUNDS[size]):
        for name in _in_turn(list(VARIANTS), number):
            _begin(server, name, load)
            found[name].append(pgbench(server, name, load, SECONDS[size]))
        say(f"{NAMES[load]}, round {number + 1} of {ROUNDS[size]}: {found[PLAIN][-1].tps:,.0f} tps without capture")
    compared = [name for name in VARIANTS if name != PLAIN and not name.endswith("not captured")]
    return [_ratio(f"{NAMES[load]}: {name}", found[name], found[AGAINST.get(name, PLAIN)]) for name in compared]


def _said(server: Server, size: Size, say: Say) -> list[Figure]:
    """A transaction that says who writes, captured and not: three statements of its four are the same."""
    found: dict[str, list[Run]] = {PLAIN: [], "plain capture": []}
    for number in range(ROUNDS[size]):
        for name in _in_turn(list(found), number):
            _begin(server, name, SAID)
            found[name].append(pgbench(server, name, SAID, SECONDS[size]))
    say("writers that say who they are: done")
    return [_ratio("single inserts: plain capture, the session says rowhook.actor", found["plain capture"], found[PLAIN])]


def _begin(server: Server, name: str, load: Load) -> None:
    with server.connect(name) as connection:
        connection.execute("TRUNCATE expenses RESTART IDENTITY")
        if load is UPDATES:
            connection.execute(FILL)
    if load is not UPDATES:
        empty(server, name)


def _in_turn(names: Sequence[str], number: int) -> list[str]:
    first = number % len(names)
    return [*names[first:], *names[:first]]


def _ratio(metric: str, runs: Sequence[Run], bare: Sequence[Run]) -> Figure:
    return figure("captures", metric, "tps", [r.tps for r in runs], "no capture at all", [r.tps for r in bare])
