"""rowhook endpoint add, list, show, edit, pause, resume, remove, rotate."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.keyring import Sealed, for_secret
from tests.cli.conftest import Rowhook, Sent
from tests.conftest import Connection
from tests.keys import KEYRING

PLAIN = "a plain secret, 30 characters."
WHSEC = "whsec_" + base64.b64encode(bytes(range(32))).decode()
URL = "https://example.com/hook"


def secrets_of(conn: Connection, endpoint: str) -> list[str]:
    rows = conn.execute(
        "SELECT p.id, s.id, s.key_id, s.ciphertext FROM rowhook.secret AS s JOIN rowhook.endpoint AS p ON p.id = s.endpoint_id"
        " WHERE p.public_id = %s ORDER BY s.id",
        [endpoint],
    )
    return [KEYRING.open(Sealed(key, data), for_secret(owner, id)) for owner, id, key, data in rows]


def revision(conn: Connection, endpoint: str) -> int:
    ((number,),) = conn.execute("SELECT revision FROM rowhook.endpoint WHERE public_id = %s", [endpoint]).fetchall()
    return int(number)


def states(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT state, count(*) FROM rowhook.delivery GROUP BY state").fetchall())


# --- add -----------------------------------------------------------------------------------------


def test_add_with_all_options(rowhook: Rowhook, conn: Connection, heard: Callable[[], int]):
    options = [
        "--events",
        "expense.*, bill.paid",
        "--tenant",
        "7",
        "--description",
        "Größe",
        "--retry",
        "2s,5min",
        "--timeout",
        "3s",
    ]
    added = rowhook("endpoint", "add", "HTTPS://Example.com/Hook", *options, "--max-in-flight", "5", "--json", ok=True)
    assert added.err == ""
    expected = {
        "url": "https://example.com/Hook",
        "events": ["expense.*", "bill.paid"],
        "tenant": "7",
        "description": "Größe",
        "state": "active",
        "state_reason": None,
        "retry": "2s,5min",
        "timeout": "3s",
        "max_in_flight": 5,
        "failing_since": None,
    }
    assert expected.items() <= added.json.items()
    assert added.json["id"].startswith("end_")
    assert added.json["secret"].startswith("whsec_")
    assert secrets_of(conn, added.json["id"]) == [added.json["secret"]]
    assert heard() == 1
    row = conn.execute("SELECT retry_schedule, timeout, max_in_flight FROM rowhook.endpoint").fetchone()
    assert row == ([timedelta(seconds=2), timedelta(minutes=5)], timedelta(seconds=3), 5)


def test_add_with_defaults(rowhook: Rowhook):
    added = rowhook("endpoint", "add", URL, "--json", ok=True).json
    assert (added["events"], added["tenant"], added["retry"], added["timeout"]) == (["*"], None, None, None)


def test_add_prints_the_secret_this_once(rowhook: Rowhook):
    added = rowhook("endpoint", "add", URL, ok=True)
    fields = dict(line.split(maxsplit=1) for line in added.out.splitlines())
    secret = fields["secret"].split()[0]
    assert secret.startswith("whsec_")
    for command in (
        ("list",),
        ("list", "--json"),
        ("show", fields["id"]),
        ("show", fields["id"], "--json"),
        ("pause", fields["id"]),
    ):
        assert secret not in rowhook("endpoint", *command, ok=True).out


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_add_with_a_plain_secret_prints_both_forms(rowhook: Rowhook, conn: Connection, in_folder: Path, how: str):
    (in_folder / "secret").write_text(f"{PLAIN}\n")
    options = ["--secret-file", "secret"] if how == "file" else ["--secret", "-"]
    added = rowhook("endpoint", "add", URL, *options, "--json", input=f"{PLAIN}\n", ok=True).json
    assert added["secret"] == PLAIN
    assert added["secret_whsec"] == "whsec_" + base64.b64encode(PLAIN.encode()).decode()
    assert secrets_of(conn, added["id"]) == [PLAIN]
    text = rowhook("endpoint", "add", URL, *options, input=PLAIN, ok=True).out
    assert f"{PLAIN}  (key of X-Hub-Signature-256" in text
    assert added["secret_whsec"] in text


def test_add_with_a_whsec_secret(rowhook: Rowhook):
    added = rowhook("endpoint", "add", URL, "--secret", "-", "--json", input=WHSEC, ok=True).json
    assert added["secret"] == added["secret_whsec"] == WHSEC


def test_default_secret_is_copied(rowhook: Rowhook, conn: Connection):
    default = {"ROWHOOK_DEFAULT_SECRET": PLAIN}
    added = rowhook("endpoint", "add", URL, "--json", env=default, ok=True).json
    assert secrets_of(conn, added["id"]) == [PLAIN]
    given = rowhook("endpoint", "add", URL, "--secret", "-", "--json", env=default, input=WHSEC, ok=True).json
    assert given["secret"] == WHSEC


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("example.com/hook",), ("example.com/hook", "https://example.com/hook")),
        (("ftp://example.com/",), ("ftp://example.com/", "https://")),
        (("https:///hook",), ("names no host", "https://example.com/hook")),
        (("https://user:sesame@example.com/",), ("user name or password", "leave out")),
        (("http://2130706433/",), ("2130706433", "four decimal numbers")),
        ((URL, "--events", "expense.*.x"), ("'expense.*.x'", "give *, expense.* or expense.created")),
        ((URL, "--events", "expense*"), ("'expense*'", "give *, expense.* or expense.created")),
        ((URL, "--events", ""), ("''", "give *, expense.* or expense.created")),
        ((URL, "--events", "a,,b"), ("''", "give *, expense.* or expense.created")),
        ((URL, "--retry", "2s,soon"), ("'soon'", "2s,4s,8s")),
        ((URL, "--retry", "2"), ("'2'", "2s,4s,8s")),
        ((URL, "--timeout", "quick"), ("'quick'", "15s")),
        ((URL, "--timeout", "0s"), ("'0s'", "15s")),
        ((URL, "--timeout", "25h"), ("'25h' is longer than a day", "give 1d at most")),
        ((URL, "--max-in-flight", "many"), ("'many'", "1 to 10000")),
        ((URL, "--max-in-flight", "0"), ("'0'", "1 to 10000")),
        ((URL, "--secret-file", "nowhere"), ("'nowhere'", "No such file")),
        ((URL, "--secret", "-", "--secret-file", "x"), ("both given", "one of them")),
        ((URL, "--tenant", "7" * 501), ("501 characters", "500")),
    ],
)
def test_add_mistakes(rowhook: Rowhook, conn: Connection, arguments: tuple[str, ...], expected: tuple[str, ...]):
    line = rowhook("endpoint", "add", *arguments).refused(*expected)
    assert "sesame" not in line
    assert conn.execute("SELECT count(*) FROM rowhook.endpoint").fetchone() == (0,)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://10.1.2.3/hook", ("10.1.2.3 is a private address", "ROWHOOK_ALLOW_NETWORKS=10.1.2.0/24 would allow it")),
        ("http://127.0.0.1:5000/hook", ("127.0.0.1 is a loopback address", "ROWHOOK_ALLOW_NETWORKS=127.0.0.0/8")),
        ("http://localhost:5000/hook", ("localhost is 127.0.0.1", "ROWHOOK_ALLOW_NETWORKS=127.0.0.0/8")),
        ("http://169.254.169.254/latest/meta-data/", ("link-local", "public addresses only")),
        ("http://example.com/hook", ("plain http", "ROWHOOK_ALLOW_HTTP=1")),
        ("https://example.com:22/", ("port 22", "ROWHOOK_ALLOW_PORTS")),
        ("https://example.com:6379/", ("port 6379 is that of Redis", "ROWHOOK_ALLOW_PORTS")),
    ],
)
def test_where_requests_may_not_go(rowhook: Rowhook, conn: Connection, endpoint: str, url: str, expected: tuple[str, ...]):
    rowhook("endpoint", "add", url).refused(*expected)
    rowhook("endpoint", "edit", endpoint, "--url", url).refused(*expected)
    assert conn.execute("SELECT url FROM rowhook.endpoint").fetchall() == [(URL,)]


def test_where_the_operator_lets_them_go(rowhook: Rowhook, conn: Connection):
    private = {"ROWHOOK_ALLOW_NETWORKS": "10.1.2.0/24"}
    rowhook("endpoint", "add", "http://10.1.2.3:8000/hook", env=private, ok=True)
    rowhook("endpoint", "add", "http://example.com/hook", env={"ROWHOOK_ALLOW_HTTP": "1"}, ok=True)
    rowhook("endpoint", "add", "https://example.com:22/", env={"ROWHOOK_ALLOW_PORTS": "22"}, ok=True)
    rowhook("endpoint", "add", "http://10.1.2.3/", env={**private, "ROWHOOK_DENY_NETWORKS": "10.1.2.3"}).refused("DENY_NETWORKS")


def test_its_own_database_is_no_receiver(rowhook: Rowhook, conn: Connection):
    env = {"ROWHOOK_ALLOW_NETWORKS": "127.0.0.0/8"}
    rowhook("endpoint", "add", f"http://127.0.0.1:{conn.info.port}/", env=env).refused("own database (DATABASE_URL)")


@pytest.mark.parametrize(
    "secret", ["short", "whsec_not base64!", "whsec_c2hvcnQ=", " spaces around it all ", "two lines\nof secret text"]
)
def test_bad_secrets_are_refused_unseen(rowhook: Rowhook, secret: str):
    done = rowhook("endpoint", "add", URL, "--secret", "-", input=secret)
    assert secret.strip() not in done.refused("secret", "give" if "whsec" not in secret else "base64")


def test_secret_is_refused_as_an_argument(rowhook: Rowhook):
    line = rowhook("endpoint", "add", URL, "--secret", PLAIN).refused("--secret takes no secret", "--secret-file")
    assert PLAIN not in line


# --- list and show -------------------------------------------------------------------------------


def test_list(rowhook: Rowhook, endpoint: str):
    assert [row["id"] for row in rowhook("endpoint", "list", "--json", ok=True).json] == [endpoint]
    header, row = rowhook("endpoint", "list", ok=True).out.splitlines()
    assert header.split("\t")[:2] == ["id", "state"]
    assert row.split("\t")[:3] == [endpoint, "active", "*"]


def test_list_of_none(rowhook: Rowhook):
    assert rowhook("endpoint", "list", "--json", ok=True).json == []


def test_show(rowhook: Rowhook, endpoint: str, deliver: Callable[..., Sent]):
    deliver(endpoint, "dead")
    deliver(endpoint, "pending")
    shown = rowhook("endpoint", "show", endpoint.lower(), "--json", ok=True).json
    assert (shown["id"], shown["dead"], shown["pending"], len(shown["secrets"])) == (endpoint, 1, 1, 1)
    assert "dead        1\n" in rowhook("endpoint", "show", endpoint, ok=True).out


@pytest.mark.parametrize("command", ["show", "pause", "resume", "remove", "rotate", "edit"])
def test_unknown_endpoints(rowhook: Rowhook, endpoint: str, command: str):
    options = ["--events", "*"] if command == "edit" else []
    unknown = endpoint[:-2] + ("01" if endpoint[-2:] != "01" else "02")
    rowhook("endpoint", command, unknown, *options).refused(unknown, "rowhook endpoint list")
    rowhook("endpoint", command, f"evt_{endpoint[4:]}", *options).refused("'evt_", "begins with end_")
    rowhook("endpoint", command, "end_1", *options).refused("'end_1'", "26 characters")


# --- changes -------------------------------------------------------------------------------------


def test_edit(rowhook: Rowhook, conn: Connection, endpoint: str, heard: Callable[[], int]):
    edited = rowhook("endpoint", "edit", endpoint, "--events", "bill.*", "--retry", "patient", "--json", ok=True).json
    assert (edited["events"], edited["retry"]) == (["bill.*"], "5s,5min,30min,2h,5h,10h,10h")
    assert edited["url"] == URL
    assert "secret" not in edited
    assert revision(conn, endpoint) == 2
    assert heard() == 1
    assert "retry       none" in rowhook("endpoint", "edit", endpoint, "--tenant", "", "--retry", "none", ok=True).out
    edited = rowhook("endpoint", "edit", endpoint, "--retry", "", "--url", "https://example.org/", "--json", ok=True).json
    assert (edited["retry"], edited["tenant"], edited["url"]) == (None, None, "https://example.org/")


def test_an_endpoint_keeps_its_tenant_or_becomes_the_operators(rowhook: Rowhook, endpoint: str):
    rowhook("endpoint", "edit", endpoint, "--tenant", "9").refused(
        "keeps its tenant (none", "Add another endpoint for tenant '9'"
    )
    theirs = rowhook("endpoint", "add", URL, "--tenant", "7", "--json", ok=True).json["id"]
    rowhook("endpoint", "edit", theirs, "--tenant", "9").refused("keeps its tenant ('7')", "Add another endpoint for tenant '9'")
    rowhook("endpoint", "edit", theirs, "--tenant", "7", ok=True)
    assert rowhook("endpoint", "edit", theirs, "--tenant", "", "--json", ok=True).json["tenant"] is None


def test_edit_mistakes(rowhook: Rowhook, endpoint: str):
    rowhook("endpoint", "edit", endpoint).refused("nothing to change", "--events")
    rowhook("endpoint", "edit", endpoint, "--events", "a b").refused("'a b'", "expense.created")
    rowhook("endpoint", "edit", endpoint, "--url", "nowhere").refused("'nowhere'", "https://example.com/hook")


def test_pause_and_resume(rowhook: Rowhook, conn: Connection, endpoint: str, heard: Callable[[], int]):
    assert rowhook("endpoint", "pause", endpoint, ok=True).out == f"{endpoint}: paused\n"
    assert rowhook("endpoint", "show", endpoint, "--json", ok=True).json["state_reason"] == "paused by hand"
    resumed = rowhook("endpoint", "resume", endpoint, "--json", ok=True).json
    assert (resumed["state"], resumed["state_reason"]) == ("active", None)
    assert revision(conn, endpoint) == 3
    assert heard() == 2


def test_resume_of_a_disabled_one_forgets_its_failures(rowhook: Rowhook, conn: Connection, endpoint: str):
    conn.execute("UPDATE rowhook.endpoint SET state = 'disabled', state_reason = '410', failing_since = now()")
    resumed = rowhook("endpoint", "resume", endpoint, "--json", ok=True).json
    assert (resumed["state"], resumed["state_reason"], resumed["failing_since"]) == ("active", None, None)


def test_resume_discards_what_waited(rowhook: Rowhook, conn: Connection, endpoint: str, deliver: Callable[..., Sent]):
    for state in ("pending", "pending", "dead", "leased"):
        deliver(endpoint, state, attempts=1)
    rowhook("endpoint", "pause", endpoint, ok=True)
    assert rowhook("endpoint", "resume", endpoint, "--discard", "--json", ok=True).json["cancelled"] == 2
    assert states(conn) == {"cancelled": 2, "dead": 1, "leased": 1}


def test_remove(rowhook: Rowhook, conn: Connection, endpoint: str, deliver: Callable[..., Sent]):
    for state in ("pending", "delivered", "leased"):
        deliver(endpoint, state, attempts=1)
    assert (
        rowhook("endpoint", "remove", endpoint, ok=True).out
        == f"{endpoint}: removed, cancelled deliveries: 1, out, and not tried again: 1\n"
    )
    assert states(conn) == {"cancelled": 1, "delivered": 1, "leased": 1}
    assert rowhook("endpoint", "list", "--json", ok=True).json == []
    assert len(rowhook("endpoint", "list", "--removed", "--json", ok=True).json) == 1
    for command in ("pause", "resume", "rotate"):
        rowhook("endpoint", command, endpoint).refused(endpoint, "was removed", "add a new one")
    assert rowhook("endpoint", "remove", endpoint, "--json", ok=True).json["cancelled"] == 0


def test_rotate(rowhook: Rowhook, conn: Connection, endpoint: str, heard: Callable[[], int]):
    (old,) = secrets_of(conn, endpoint)
    rotated = rowhook("endpoint", "rotate", endpoint, "--json", ok=True).json
    assert secrets_of(conn, endpoint) == [old, rotated["secret"]]
    until = datetime.fromisoformat(rotated["overlap_until"])
    assert timedelta(hours=23, minutes=59) < until - datetime.now(UTC) <= timedelta(hours=24)
    assert conn.execute("SELECT expires_at FROM rowhook.secret ORDER BY id").fetchall() == [(until,), (None,)]
    assert revision(conn, endpoint) == 2
    assert heard() == 1


def test_rotate_without_overlap(rowhook: Rowhook, conn: Connection, endpoint: str):
    """The old ones end at once; one that was to end sooner than the overlap still does."""
    rowhook("endpoint", "rotate", endpoint, "--overlap", "1h", ok=True)
    rowhook("endpoint", "rotate", endpoint, "--secret", "-", "--overlap", "2h", input=PLAIN, ok=True)
    first, second, third = conn.execute("SELECT expires_at - now() FROM rowhook.secret ORDER BY id").fetchall()
    assert first[0] <= timedelta(hours=1) < second[0]
    assert third == (None,)
    rowhook("endpoint", "rotate", endpoint, "--overlap", "0s", ok=True)
    row = conn.execute("SELECT count(*) FROM rowhook.secret WHERE expires_at IS NULL OR expires_at > now()").fetchone()
    assert row == (1,)


def test_rotate_mistakes(rowhook: Rowhook, endpoint: str):
    rowhook("endpoint", "rotate", endpoint, "--overlap", "a day").refused("'a day'", "24h")
    rowhook("endpoint", "rotate", endpoint, "--secret", "-", input="short").refused("5 characters", "16 or more")


# --- filter, shape, rate -------------------------------------------------------------------------


def test_add_and_edit_with_filter_shape_and_rate(rowhook: Rowhook, conn: Connection, in_folder: Path):
    wishes = ["--filter", "$.data.amount > 1000", "--shape", "cloudevents", "--rate", "100/min"]
    added = rowhook("endpoint", "add", URL, *wishes, "--json", ok=True).json
    expected = {"filter": "$.data.amount > 1000", "shape": "cloudevents", "template": None, "rate": "100/min"}
    assert expected.items() <= added.items()
    assert expected.items() <= rowhook("endpoint", "show", added["id"], "--json", ok=True).json.items()
    (in_folder / "mine.j2").write_text("{{ data | tojson }}")
    edited = rowhook(
        "endpoint", "edit", added["id"], "--template", "mine.j2", "--filter", "", "--rate", "", "--json", ok=True
    ).json
    assert {"filter": None, "shape": "template", "template": "{{ data | tojson }}", "rate": None}.items() <= edited.items()
    assert "cloudevents" not in rowhook("endpoint", "show", added["id"], ok=True).out
    back = rowhook("endpoint", "edit", added["id"], "--shape", "standard", "--json", ok=True).json
    assert {"shape": "standard", "template": None}.items() <= back.items()
    slack = rowhook("endpoint", "add", URL, "--template", "slack", "--json", ok=True).json
    assert slack["shape"] == "template" and "blocks" in slack["template"]
    assert [row["shape"] for row in rowhook("endpoint", "list", "--json", ok=True).json] == ["standard", "template"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--filter", "$.data.amount >"], ["no SQL/JSON path"]),
        (["--filter", "$.data.amount"], ["no predicate", "exists"]),
        (["--filter", "$.** > 1"], ["no bound"]),
        (["--shape", "round"], ["'round' is not a shape", "cloudevents-binary"]),
        (["--shape", "template"], ["not a shape", "--template"]),
        (["--template", "missing.j2"], ["missing.j2", "slack"]),
        (["--template", "slack", "--shape", "thin"], ["both given"]),
        (["--rate", "fast"], ["'fast' is not a rate", "10/s"]),
    ],
)
def test_what_cannot_be_is_refused(rowhook: Rowhook, conn: Connection, options: list[str], said: list[str]):
    rowhook("endpoint", "add", URL, *options).refused(*said)
    assert conn.execute("SELECT count(*) FROM rowhook.endpoint").fetchone() == (0,)
