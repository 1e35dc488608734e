"""The command line itself: help, version, unknown options, and how commands end."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from relay import __version__
from tests.cli.conftest import COMMAND, Rowhook, environment
from tests.cluster import Cluster

COMMANDS = [
    ("migrate",), ("capture",), ("uncapture",), ("run",), ("api",), ("deliveries",), ("replay",), ("demo",), ("endpoint",),
    *[("endpoint", name) for name in ("add", "list", "show", "edit", "pause", "resume", "remove", "rotate")],
]  # fmt: skip


def test_version(anywhere: Rowhook):
    done = anywhere("--version", ok=True)
    assert (done.out, done.err) == (f"rowhook {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "given", "env"),
    [
        (("--version",), "", {}),
        (("endpoint", "list"), "", {}),
        (("endpoint", "add", "ftp://example.com/Größe"), "", {}),
        (("endpoint", "add", "https://example.com/", "--header", "-", "--json"), "X-Kind: a\n", {"ROWHOOK_SECRET_KEY": "short"}),
        (("deliveries", "--state", "lost"), "", {}),
        (("endpoint", "list"), "", {"DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}),
        (("run",), "", {"ROWHOOK_TIMEOUT": "never"}),
    ],
)
def test_a_command_of_these_tests_ends_as_one_from_the_start_does(
    rowhook: Rowhook, really: Rowhook, arguments: tuple[str, ...], given: str, env: dict[str, str]
):
    assert rowhook(*arguments, input=given, env=env) == really(*arguments, input=given, env=env)


def test_no_command_is_a_wish_for_help(anywhere: Rowhook):
    for arguments in ((), ("endpoint",)):
        done = anywhere(*arguments, ok=True)
        assert done.out.startswith("Usage: rowhook")
        assert done.err == ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_needs_no_database(anywhere: Rowhook, command: tuple[str, ...]):
    assert f"Usage: rowhook {' '.join(command)}" in anywhere(*command, "--help", ok=True).out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("captur", "x"), ("captur", "capture")),
        (("endpoint", "ad"), ("ad", "add", "rotate")),
        (("capture",), ("TABLE", "--tenant")),
        (("endpoint", "show"), ("ID", "rowhook endpoint show")),
        (("capture", "x", "--tennant", "y"), ("--tennant", "--tenant")),
        (("deliveries", "--foo"), ("--foo", "--endpoint", "--status", "--limit")),
        (("--foo",), ("--foo", "--version")),
        (("migrate", "now"), ("now", "rowhook migrate takes")),
        (("deliveries", "--limit"), ("--limit", "argument")),
        (("migrate", "--json=yes"), ("--json",)),
    ],
)
def test_usage_mistakes_are_one_line(anywhere: Rowhook, arguments: tuple[str, ...], expected: tuple[str, ...]):
    anywhere(*arguments).refused(*expected)


def test_argument_that_is_not_text(in_folder: Path):
    done = subprocess.run(
        [*COMMAND, "endpoint", "add", b"https://example.com/\xff"],
        cwd=in_folder,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert b"UTF-8" in line


def test_database_lost_midway_is_one_line(dsn: str, rowhook: Rowhook, conn, cluster: Cluster):
    """A failure, not a mistake: exit 1, no traceback."""
    conn.execute(
        """
        CREATE FUNCTION rowhook.shoot() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER shoot BEFORE INSERT ON rowhook.endpoint FOR EACH ROW EXECUTE FUNCTION rowhook.shoot()
        """
    )
    done = rowhook("endpoint", "add", "https://example.com/")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("rowhook: the database was lost: terminating connection")


def test_failure_of_postgres_is_one_line(rowhook: Rowhook, conn):
    conn.execute("ALTER TABLE rowhook.endpoint ADD CONSTRAINT never CHECK (url <> 'https://example.com/never')")
    done = rowhook("endpoint", "add", "https://example.com/never")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "never" in done.err


def test_missing_right_is_one_line(rowhook: Rowhook, conn, dsn: str):
    conn.execute("DROP ROLE IF EXISTS cli_reader; CREATE ROLE cli_reader LOGIN; GRANT SELECT ON _yoyo_migration TO cli_reader")
    reader = {"DATABASE_URL": dsn.replace("postgres@", "cli_reader@")}
    rowhook("endpoint", "list", env=reader).refused("permission denied for schema rowhook", "grant it")
    conn.execute("DROP OWNED BY cli_reader")


def test_tables_are_for_terminals(dsn: str, rowhook: Rowhook, endpoint: str, in_folder: Path):
    """On a terminal a table with colours, elsewhere plain lines."""
    assert "\x1b" not in rowhook("endpoint", "list", env={"FORCE_COLOR": "1"}, ok=True).out
    ours, theirs = pty.openpty()
    env = environment(DATABASE_URL=dsn, TERM="xterm-256color", COLUMNS="200")
    done = subprocess.run(
        [*COMMAND, "endpoint", "list"], cwd=in_folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, check=False
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert "\x1b[1m" in shown
    assert endpoint in shown
    assert "\t" not in shown


def test_reader_that_goes_away(dsn: str, in_folder: Path, rowhook: Rowhook, endpoint: str):
    """As in: rowhook endpoint list | head -0"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "endpoint", "list"],
        cwd=in_folder,
        env=environment(DATABASE_URL=dsn),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1
