"""Shapes: golden bytes of each, headers as the HTTP binding of CloudEvents has them, and the language of templates."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from relay import moment
from relay.errors import UserMistake
from relay.event import Event
from relay.shapes import BINARY, CLOUDEVENTS, LEGACY, SHAPES, STANDARD, THIN, Facts, headers_of, parse_shape, shaped
from relay.shapes.language import LARGEST, RECIPES, check_template, recipe, render, to_json
from relay.shapes.renderer import Renderer, RenderError
from relay.wishes import parse_rate, read_template, shape_fields

MOMENT = moment.of(datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=UTC))
ROW = b'{"id": 41,"amount":99.50,"notes":"a \\"b\\" \xe2\x82\xac"}'
EVENT = Facts("evt_1", "expense.created", MOMENT, "7", "expenses", "41", False, ROW)

GOLDEN = {
    THIN: b'{"id":"evt_1","type":"expense.created","timestamp":"2026-01-01T09:30:00.123456Z",'
    b'"tenant":"7","table":"expenses","row_key":"41"}',
    CLOUDEVENTS: b'{"specversion":"1.0","id":"evt_1","source":"/rowhook/expenses","type":"expense.created",'
    b'"time":"2026-01-01T09:30:00.123456Z","subject":"41","tenant":"7","datacontenttype":"application/json","data":' + ROW + b"}",
    BINARY: ROW,
    LEGACY: b'{"event":"expense.created","data":' + ROW + b"}",
}
LEAST = EVENT._replace(tenant=None, table=None, row_key=None, data=None)
GOLDEN_LEAST = {
    THIN: b'{"id":"evt_1","type":"expense.created","timestamp":"2026-01-01T09:30:00.123456Z",'
    b'"tenant":null,"table":null,"row_key":null}',
    CLOUDEVENTS: b'{"specversion":"1.0","id":"evt_1","source":"/rowhook","type":"expense.created",'
    b'"time":"2026-01-01T09:30:00.123456Z","datacontenttype":"application/json","data":null}',
    BINARY: b"null",
    LEGACY: b'{"event":"expense.created","data":null}',
}


@pytest.mark.parametrize("shape", GOLDEN)
def test_golden_bytes(shape: str) -> None:
    """These are promised: a relay of another version must make the same of a delivery that waits for its retry."""
    assert shaped(shape, EVENT) == GOLDEN[shape]
    assert shaped(shape, LEAST) == GOLDEN_LEAST[shape]


def test_every_shape_is_golden() -> None:
    assert {STANDARD, *GOLDEN} == {*SHAPES, STANDARD} == set(map(parse_shape, SHAPES))
    with pytest.raises(UserMistake, match="not a shape"):
        parse_shape("round")


def test_what_goes_beside_the_body() -> None:
    assert headers_of(CLOUDEVENTS, EVENT) == {"content-type": "application/cloudevents+json"}
    assert headers_of(THIN, EVENT) == headers_of(LEGACY, EVENT) == {"content-type": "application/json"}
    assert headers_of(BINARY, EVENT._replace(moved=True)) == {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "evt_1",
        "ce-source": "/rowhook/expenses",
        "ce-type": "expense.created",
        "ce-time": "2026-01-01T09:30:00.123456Z",
        "ce-subject": "41",
        "ce-tenant": "7",
        "ce-moved": "true",
    }


def test_attributes_are_percent_encoded_as_the_binding_says() -> None:
    """3.1.3.2: its own example, the edges of what is printable, and what would end a header."""
    said = {
        "Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        '!~"%': "!~%22%25",
        "\x7f\r\nX: 1": "%7F%0D%0AX:%201",
        "a,b;c": "a,b;c",
    }
    for value, encoded in said.items():
        assert headers_of(BINARY, EVENT._replace(row_key=value))["ce-subject"] == encoded
    odd = EVENT._replace(table='a/b.Ü "x"')
    assert json.loads(shaped(CLOUDEVENTS, odd))["source"] == "/rowhook/a%2Fb.%C3%9C%20%22x%22"


def test_moved_is_a_boolean_there() -> None:
    assert json.loads(shaped(CLOUDEVENTS, EVENT._replace(moved=True)))["moved"] is True


def an_event(data: bytes = ROW) -> Event:
    return Event(1, 0, MOMENT, "expense.created", "7", "41", False, data, None, "expenses")


def test_an_event_goes_out_in_several_shapes_whichever_is_asked_for_first() -> None:
    event = an_event()
    event.goes_out_as({THIN, LEGACY})
    standard = event.body
    assert event.body_as(LEGACY) == b'{"event":"expense.created","data":' + ROW + b"}"
    assert event.body == standard == an_event().body
    assert event.body_as(LEGACY) is event.body_as(LEGACY)
    assert event.size == 2 * len(ROW), "held once more where the shape holds the row, and counted so"


def test_a_row_that_goes_out_in_one_shape_is_held_once() -> None:
    event = an_event()
    assert event.body
    assert event.data is None


# --- templates ---------------------------------------------------------------------------------------------

ENVELOPE = an_event().body.decode()
MORE = {"table": "expenses", "row_key": "41"}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ('{"text": {{ ("Spent " ~ data.amount) | tojson }}}', '{"text": "Spent 99.50"}'),
        ('{"amount": {{ data.amount | tojson }}, "row": {{ data | tojson }}}',
         '{"amount": 99.50, "row": {"id":41,"amount":99.50,"notes":"a \\"b\\" €"}}'),
        ('{"big": {% if data.amount > 50 %}true{% else %}false{% endif %}}', '{"big": true}'),
        ('["{{ data.missing.deeper }}", {{ data.missing | tojson }}, "{{ previous }}"]', '["", null, ""]'),
        ('{"t": "{{ type }}", "k": "{{ row_key }}", "tb": "{{ table }}", "ten": {{ tenant | tojson }}}',
         '{"t": "expense.created", "k": "41", "tb": "expenses", "ten": "7"}'),
        ("  {{ data.notes | tojson }}\n", '"a \\"b\\" €"'),
        ('{{ data.amount * 2 }}', "199.00"),
    ],
)  # fmt: skip
def test_what_a_template_makes(template: str, made: str) -> None:
    assert render(check_template(template), ENVELOPE, MORE) == made


def test_numbers_keep_their_digits() -> None:
    envelope = an_event(b'{"n":1.10,"big":' + b"9" * 5000 + b',"e":1e400,"i":9007199254740993}').body.decode()
    made = render("{{ data | tojson }}", envelope, MORE)
    assert json.loads(made, parse_float=str, parse_int=str) == {
        "n": "1.10",
        "big": "9" * 5000,
        "e": "1E+400",
        "i": "9007199254740993",
    }
    assert to_json({"a": [Decimal("1.50"), None, True, 'x"']}) == '{"a":[1.50,null,true,"x\\""]}'


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{", "line 1"),
        ("{% for x in y %}", "line 1"),
        ("{{ data | nonsense }}", "nonsense"),
        ("{{ data | random }}", "random"),
        ("{% include 'x' %}", "includes"),
        ("{% extends 'x' %}", "includes"),
        ("x" * 20_001, "20001 characters"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "can't be read"),
    ],
    ids=lambda value: value[:20],
)
def test_a_template_that_cannot_be_read_is_refused(template: str, why: str) -> None:
    with pytest.raises(UserMistake, match=why):
        check_template(template)


# What a template may not, and what is said of it. The last of each kind ends the process; the next template finds another.
REFUSED = {
    '{"text": "{{ data.notes }}"}': "no JSON",
    "NaN": "NaN",
    "": "no JSON",
    '"{{ "\\ud800" }}"': "no JSON",
    "{{ data.missing > 1 }}": "no attribute",
    "{{ ''.__class__.__mro__ }}": "no JSON",  # nothing is written for what the sandbox hides
    "{{ self.__init__.__globals__ }}": "no JSON",
    "{{ data.update({'a': 1}) }}": "unsafe",
    "{{ 10 ** 10 ** 9 }}": "no powers",
    "{{ 'x' * 9 }}": "for numbers",
    "{{ '%1000000000d' % 1 }}": "for numbers",
    '"{{ "x" | center(2000000000) }}"': "memory",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "takes more than",
    "{% for i in range(99999) %}xxxxxx{% endfor %}": f"more than {LARGEST}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": "recursion",
}


async def test_what_a_template_may_not_is_an_error_of_its_own() -> None:
    """In the real process; the one after it is rendered as ever."""
    renderer = Renderer()
    try:
        for template, why in REFUSED.items():
            with pytest.raises(RenderError, match=why):
                await renderer.render(check_template(template), ENVELOPE.encode(), MORE)
            assert await renderer.render("{{ data.amount }}", ENVELOPE.encode(), MORE) == "99.50"
    finally:
        renderer.close()


async def test_a_process_that_ends_or_says_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Renderer()
    monkeypatch.setattr("relay.shapes.renderer.PATIENCE", 0.5)
    try:
        assert await renderer.render("1", ENVELOPE.encode(), MORE) == "1"
        first = renderer.process
        assert first is not None
        for number in (signal.SIGSTOP, signal.SIGKILL):
            assert renderer.process is not None
            renderer.process.send_signal(number)
            with pytest.raises(RenderError, match="did not come to an end"):
                await renderer.render("2", ENVELOPE.encode(), MORE)
            assert await renderer.render("3", ENVELOPE.encode(), MORE) == "3"
        assert first.poll() is not None
    finally:
        renderer.close()


def what_is_known_to(pid: int) -> tuple[set[str], int]:
    """Names of its environment's variables, and how many sockets it has open."""
    process = Path(f"/proc/{pid}")
    names = {line.partition("=")[0] for line in (process / "environ").read_text().split("\0") if line}
    return names, sum(str(file.readlink()).startswith("socket:") for file in (process / "fd").iterdir())


async def test_the_process_knows_nothing_of_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWHOOK_SECRET_KEY", "not for templates")
    renderer = Renderer()
    try:
        await renderer.render("1", ENVELOPE.encode(), MORE)
        assert renderer.process is not None
        variables, sockets = what_is_known_to(renderer.process.pid)
        assert variables == {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
        assert sockets == 1, "that to the relay"
    finally:
        renderer.close()


def test_nothing_is_computed_when_a_template_is_read() -> None:
    """Or `rowhook endpoint add` would be held up, where no worker bounds time and memory."""
    for template in ('{{ "x" | center(10 ** 9) | length }}', "{{ range(99999) | list | length }}", "{{ 9 ** 9 ** 9 }}"):
        check_template(template)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_that_ship(name: str) -> None:
    text = read_template(name)
    assert text == recipe(name) == check_template(recipe(name))
    hostile = b'{"notes":"\\"}],<script> \\u0041 & {{ 1 }}","id":41,"amount":99.50}'
    for event in (
        an_event(),
        an_event(hostile),
        Event(1, 0, MOMENT, "expense.truncated", None, None, False, None, None, "expenses"),
    ):
        made: dict[str, Any] = json.loads(render(text or "", event.body.decode(), MORE))
        assert event.type in json.dumps(made)
        assert {"slack": "text", "discord": "content", "teams": "attachments"}[name] in made


# --- what a person may say ---------------------------------------------------------------------------------


def test_rates() -> None:
    assert [parse_rate(text) for text in ("10/s", "100 / min", "5/h", "1/d", "")] == ["10/s", "100/min", "5/h", "1/d", None]
    for text in ("10", "0/s", "ten/s", "10/week", "1001/s", "-1/s", "1.5/s", "1000000/h"):
        with pytest.raises(UserMistake, match="not a rate"):
            parse_rate(text)


def test_a_template_is_a_shape_of_its_own() -> None:
    assert shape_fields(None, None) == {}
    assert shape_fields("thin", None) == {"shape": "thin", "template": None}
    assert shape_fields("", None) == {"shape": "standard", "template": None}
    assert shape_fields(None, "{}") == shape_fields("template", "{}") == {"shape": "template", "template": "{}"}
    for shape, template in (("thin", "{}"), ("template", None)):
        with pytest.raises(UserMistake):
            shape_fields(shape, template)


def test_a_template_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.j2"
    file.write_text('{"ü": 1}', "utf-8")
    assert read_template(str(file)) == '{"ü": 1}'
    file.write_bytes(b"\xff")
    for name in (str(file), str(tmp_path / "none.j2"), str(tmp_path)):
        with pytest.raises(UserMistake, match="can't be read"):
            read_template(name)
