"""rowhook backfill, and endpoint add --since."""

from __future__ import annotations

import pytest

from relay import backfill
from relay.errors import UserMistake
from tests.cli.conftest import Rowhook
from tests.conftest import Connection


@pytest.fixture
def notes(conn: Connection) -> Connection:
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY, n int)")
    conn.execute("INSERT INTO notes SELECT g, g FROM generate_series(1, 60) AS g")
    conn.execute("SELECT rowhook.capture('notes')")
    return conn


def count(conn: Connection) -> int:
    return int((conn.execute("SELECT count(*) FROM rowhook.event WHERE op = 'snapshot'").fetchone() or (0,))[0])


def test_all_rows_are_sent_no_faster_than_asked(rowhook: Rowhook, notes: Connection) -> None:
    assert rowhook("backfill", "notes", "--rate", "30/s", "--chunk", "20", ok=True).out == "notes: 60 rows sent\n"
    assert count(notes) == 60
    (spread,) = notes.execute("SELECT extract(epoch FROM max(occurred_at) - min(occurred_at)) FROM rowhook.event").fetchone() or (
        0,
    )
    assert spread >= 1.2, "the last chunk begins when 40 rows have had their time, at the end of 1.33 s"


def test_an_interrupted_one_goes_on_and_says_so(rowhook: Rowhook, notes: Connection) -> None:
    (id,) = notes.execute("SELECT id FROM rowhook.begin_backfill('notes', 'n > 10', NULL)").fetchone() or (0,)
    notes.execute("SELECT rowhook.backfill_chunk(%s, 15)", [id])
    done = rowhook("backfill", "notes", "--rows", "n > 10", "--json", ok=True)
    assert done.json == {"table": "notes", "sent": 35, "in_all": 50}
    assert "going on after 15 rows" in done.err
    assert count(notes) == 50
    (id,) = notes.execute("SELECT id FROM rowhook.begin_backfill('notes', NULL, NULL)").fetchone() or (0,)
    notes.execute("SELECT rowhook.backfill_chunk(%s, 15)", [id])
    assert rowhook("backfill", "notes", "--restart", "--json", ok=True).json["sent"] == 60


def test_for_one_endpoint(rowhook: Rowhook, notes: Connection, endpoint: str) -> None:
    rowhook("backfill", "notes", "--endpoint", endpoint, ok=True)
    found = notes.execute(
        "SELECT p.public_id, count(*) FROM rowhook.event AS e JOIN rowhook.endpoint AS p ON p.id = e.endpoint_id GROUP BY 1"
    )
    assert found.fetchall() == [(endpoint, 60)]


def test_mistakes_are_one_line(rowhook: Rowhook, notes: Connection) -> None:
    rowhook("backfill", "nothing").refused("nothing")
    rowhook("backfill", "notes", "--rows", "nobody = 1").refused('column "nobody" does not exist')
    rowhook("backfill", "notes", "--endpoint", "end_1").refused("there is no endpoint end_1")
    rowhook("backfill", "notes", "--rate", "fast").refused("--rate 'fast' is not a rate", "100/s")
    assert count(notes) == 0


@pytest.mark.parametrize(("text", "rate"), [("100/s", 100.0), ("0.5", 0.5), (" 7 ", 7.0)])
def test_rates(text: str, rate: float) -> None:
    assert backfill.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "0/s", "-1", "1/min", "", "1e3"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UserMistake, match="not a rate"):
        backfill.parse_rate(text)


def test_an_endpoint_may_begin_with_its_past(rowhook: Rowhook, conn: Connection) -> None:
    for age in ("8 days", "6 days", "1 minute"):
        conn.execute("INSERT INTO rowhook.event (op, type, occurred_at) VALUES ('emit', 'a.b', now() - %s::interval)", [age])
    added = rowhook("endpoint", "add", "https://example.com/hook", "--events", "a.*", "--since", "7d", "--json", ok=True).json
    assert (added["past"], added["state"]) == (2, "active")
    states = conn.execute("SELECT state, count(*) FROM rowhook.delivery GROUP BY state").fetchall()
    assert states == [("pending", 2)]
    rowhook("endpoint", "add", "https://example.com/hook", "--since", "later").refused("--since 'later' is not a time")
    assert len(rowhook("endpoint", "list", "--json", ok=True).json) == 1, "a mistake leaves no endpoint behind"
