"""A table that logical replication writes to: its events are those of the writes on the other side, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.matrix.golden import kept, lines
from tests.matrix.replay import replayed
from tests.matrix.run import Place, one, prepare, run
from tests.matrix.shapes import SHAPES

WITHIN = 60.0
# A row in it that has arrived, and says so: what was written before it has arrived too.
FENCE = "CREATE TABLE fence (n int PRIMARY KEY);"
RINGS = """
CREATE FUNCTION fenced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('fence', NEW.n::text); RETURN NEW; END $$;
CREATE TRIGGER fenced BEFORE INSERT ON fence FOR EACH ROW EXECUTE FUNCTION fenced();
ALTER TABLE fence ENABLE ALWAYS TRIGGER fenced;
"""
# In one cluster the subscription would wait for ever for the slot that it makes itself: it is made beforehand.
PUBLISH = ("CREATE PUBLICATION p FOR ALL TABLES", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
SUBSCRIBE = "CREATE SUBSCRIPTION s CONNECTION '{}' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)"


def test_what_a_subscription_writes_is_captured_row_by_row(start_cluster: Callable[..., Cluster], connect: Connect) -> None:
    from relay.migrations import migrate

    cluster = start_cluster(wal_level="logical")
    (shape,) = (shape for shape in SHAPES if shape.name == "text_key")
    there, here = (cluster.dsn(cluster.create_database(name)) for name in ("publisher", "subscriber"))
    migrate(here)
    publisher, subscriber = connect(dsn=there), connect(dsn=here)
    for side in (publisher, subscriber):
        side.execute(f"CREATE SCHEMA text_key; SET search_path = text_key; {shape.create}; {FENCE}".encode())
    subscriber.execute(RINGS + "SELECT rowhook.capture('fence')")  # before: as any table
    assert mode(subscriber, "fence") == "statement"
    for statement in PUBLISH:
        publisher.execute(statement)
    subscriber.execute(SUBSCRIBE.format(there).encode())
    settle = fence(publisher, connect(dsn=here))

    settle()
    assert one(subscriber, "SELECT count(*) FROM rowhook.event") == (0,)  # statement triggers are not fired by it
    assert one(subscriber, "SELECT rowhook.capture('fence')") == ("changed",)
    assert mode(subscriber, "fence") == "row"
    settle()
    assert one(subscriber, "SELECT data->>'n' FROM rowhook.event") == ("2",)
    subscriber.execute("SELECT rowhook.uncapture('fence')")

    place = Place(publisher, subscriber, settle)
    assert prepare(place, replace(shape, create="SELECT")) == "row"
    assert one(subscriber, "SELECT rowhook.row_reasons('t', '{id}')") == (["is written to by a subscription"],)
    cells = list(run(place, shape))
    for cell in cells:
        assert replayed(cell.before, cell.events) == cell.after, cell.write
    assert lines(cells) == kept("text_key")


def mode(connection: Connection, table: str) -> str:
    return str(one(connection, "SELECT mode FROM rowhook.capture WHERE table_name = %s::regclass", table)[0])


def fence(publisher: Connection, listener: Connection) -> Callable[[], None]:
    """Write a number there, and wait until it has come here."""
    listener.execute("LISTEN fence")
    numbers = itertools.count(1)

    def settle() -> None:
        number = next(numbers)
        publisher.execute("INSERT INTO fence VALUES (%s)", [number])
        (arrived,) = listener.notifies(timeout=WITHIN, stop_after=1)
        assert arrived.payload == str(number)

    return settle
