"""The lines of a request: put together as they are; no value or name ends its line (none is sent: test_poison_events.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.head import fields, filled, head, target, template
from relay.sign import Secret, headers, signed

BREAKS = ["a\r\nb: c", "a\nb", "a\rb", "a\0b"]
VALUES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize("text", BREAKS)
def test_what_would_end_its_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        fields({"x": text})
    with pytest.raises(ValueError, match="line break"):
        fields({text: "x"})


@given(st.dictionaries(st.text("abc-%s", min_size=1), VALUES))
def test_each_header_is_a_line(given: dict[str, str]) -> None:
    assert fields(given) == "".join(f"{name}: {value}\r\n" for name, value in given.items())


def test_a_head_is_the_first_lines_the_headers_and_the_length() -> None:
    _, lines = target("http://127.0.0.1:8080/hook?a=%C3%B6")
    assert head(lines, fields({"x": "ü"}), 7) == (
        "POST /hook?a=%C3%B6 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nx: ü\r\nContent-Length: 7\r\n\r\n".encode()
    )


def test_what_is_signed_is_the_same_as_lines_and_by_names() -> None:
    said = (Secret.parse("whsec_" + "A" * 32),), "evt_1", 1_700_000_000, "expense.created", "dlv_1", 3, b"{}", "X-Own"
    names, values = signed(*said)
    assert filled(template(names), values) == fields(headers(*said))
