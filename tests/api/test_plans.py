"""No list reads a big table from end to end: plans, and what they touch, with many rows that are somebody else's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from relay import attempts, deliveries, event_list, replays, trail
from relay.replays import Selection
from relay.wanted import Wanted
from tests.api.making import add_endpoints, make_past, open_as_api
from tests.cluster import Cluster

EVENTS = 20_000
FILLED = "SELECT DISTINCT c.relname FROM rowhook.event AS e JOIN pg_class AS c ON c.oid = e.tableoid"


class Explaining:
    """A connection that keeps the plan of every statement."""

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection
        self.plans: list[Any] = []

    def execute(self, statement: str, parameters: Any = None, *, prepare: bool | None = None, binary: bool = False) -> Any:
        (row,) = self._connection.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters).fetchall()
        self.plans += row["QUERY PLAN"]
        return self._connection.execute(statement.encode(), parameters, prepare=prepare, binary=binary)


@pytest.fixture(scope="module")
def big(cluster: Cluster, template: str) -> Iterator[tuple[psycopg.Connection[DictRow], dict[str | None, int]]]:
    name = cluster.create_database(template=template)
    with open_as_api(cluster.dsn(name)) as connection:
        endpoints = add_endpoints(connection)
        make_past(connection, EVENTS)
        # One whose past is small and lies behind all the others'.
        connection.execute("UPDATE rowhook.attempt SET endpoint_id = 999 WHERE id <= 20")
        yield connection, endpoints
    cluster.drop_database(name)


def scans(node: Any) -> Iterator[tuple[str, str]]:
    """Kind of scan and table, of every node that reads one."""
    if isinstance(node, Mapping):
        if "Relation Name" in node:
            yield node["Node Type"], node["Relation Name"]
        for value in node.values():
            yield from scans(value)
    elif isinstance(node, list):
        for part in node:
            yield from scans(part)


NOW = datetime.now().astimezone()
HOUR_AGO = NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda c, e: attempts.page(c, e["7"], attempts.Filter(), None, 50), id="attempts"),
        pytest.param(lambda c, e: attempts.page(c, 999, attempts.Filter(), None, 50), id="attempts of a quiet endpoint"),
        pytest.param(lambda c, e: attempts.newest(c, e["7"], None, 50, attempts.Named("end_1", "7")), id="attempts of a tenant"),
        pytest.param(lambda c, e: attempts.page(c, e["7"], attempts.Filter(since=HOUR_AGO), 9_000, 50), id="attempts since"),
        pytest.param(
            lambda c, e: attempts.page(c, e["7"], attempts.Filter("leased", Wanted.of(["no.*"])), None, 50), id="filtered"
        ),
        pytest.param(lambda c, e: attempts.stats(c, 999, "day", HOUR_AGO), id="stats"),
        pytest.param(lambda c, e: event_list.page(c, event_list.Filter(), None, 50), id="events"),
        pytest.param(
            lambda c, e: event_list.page(c, event_list.Filter(tenant="9", since=HOUR_AGO, until=NOW), None, 50),
            id="events of a tenant",
        ),
        pytest.param(lambda c, e: event_list.find(c, 100, 3), id="event"),
        pytest.param(lambda c, e: trail.trail(c, 100, int(NOW.timestamp()) // 86400 % 10), id="trail"),
        pytest.param(lambda c, e: (deliveries.find(c, 100), attempts.of_delivery(c, 100)), id="delivery"),
        pytest.param(lambda c, e: replays.look(c, Selection(["dead"], endpoint=e["7"], since=HOUR_AGO)), id="replay of the dead"),
        pytest.param(
            lambda c, e: replays.look(c, Selection(["delivered", "cancelled"], endpoint=e["7"], since=NOW)), id="replay of others"
        ),
        pytest.param(
            lambda c, e: replays.look(c, Selection(["dead"], event=100, event_slot=3, tenant="7")), id="replay of an event"
        ),
        pytest.param(lambda c, e: replays.look(c, Selection(["dead", "delivered"], delivery=100)), id="replay of a delivery"),
    ],
)
def test_by_an_index(big: tuple[psycopg.Connection[DictRow], dict[str | None, int]], ask: Any) -> None:
    connection, endpoints = big
    explaining = Explaining(connection)
    ask(explaining, endpoints)
    found = set(scans(explaining.plans))
    assert found, "something was read"
    # Slots of the ring that are empty may be read from end to end.
    big_ones = {"delivery", "attempt", *(row["relname"] for row in connection.execute(FILLED).fetchall())}
    assert not [scan for scan in found if "Seq Scan" in scan[0] and scan[1] in big_ones], found


def test_what_is_asked_most_is_not_planned_each_time(cluster: Cluster, big: tuple[Any, dict[str | None, int]]) -> None:
    """Whatever is asked for: five plans for values, as Postgres does, and then one for all."""
    endpoints = (999, big[1]["7"])
    with open_as_api(cluster.dsn(big[0].info.dbname)) as connection:
        for number in range(10):
            attempts.newest(connection, endpoints[number % 2], 2**33 + number, 50, attempts.Named("end_1", "7"))
        plans = connection.execute("SELECT custom_plans, generic_plans FROM pg_prepared_statements").fetchall()
    assert plans == [{"custom_plans": 5, "generic_plans": 5}]
