"""Headers that an endpoint's requests carry: names and values that HTTP allows and that are the endpoint's to set."""

from __future__ import annotations

import pytest

from relay.errors import UserMistake
from relay.static_headers import LONGEST_VALUE, MOST_HEADERS, packed, parse_headers, unpacked


def test_lines_become_headers() -> None:
    found = parse_headers(["Authorization: Bearer a:b c", "", "  ", "X-Team:billing", "x-empty-ish: ."])
    assert found == {"Authorization": "Bearer a:b c", "X-Team": "billing", "x-empty-ish": "."}
    assert unpacked(packed(found)) == found


@pytest.mark.parametrize(
    "line",
    [
        "no colon",
        ": no name",
        "A B: x",
        "Größe: x",
        "X-A: Größe",
        "X-A:",
        "X-A: a\nX-B: b",
        "X-A: a\r\nX-B: b",
        "X-A: a\0b",
        "X-A: a\tb",
        f"X-A: {'x' * (LONGEST_VALUE + 1)}",
        f"{'x' * 101}: a",
    ],
)
def test_what_http_does_not_allow_is_refused(line: str) -> None:
    with pytest.raises(UserMistake):
        parse_headers([line])


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection", "webhook-id", "Webhook-Signature", "User-Agent",
     "X-Hub-Signature-256", "X-Rowhook-Event", "X-Mine-Attempt", "Proxy-Authorization", "Expect"],
)  # fmt: skip
def test_what_rowhook_or_the_connection_says_is_not_the_endpoints(name: str) -> None:
    with pytest.raises(UserMistake, match=f"(?i){name}"):
        parse_headers([f"{name}: x"], "X-Mine")


def test_twice_and_too_many_are_refused() -> None:
    with pytest.raises(UserMistake, match="twice"):
        parse_headers(["X-A: 1", "x-a: 2"])
    with pytest.raises(UserMistake, match=str(MOST_HEADERS)):
        parse_headers([f"X-{n}: 1" for n in range(MOST_HEADERS + 1)])


@pytest.mark.parametrize("line", ["Authorization: Bearer hunter2\x7f", "hunter2", "Content-Length: hunter2"])
def test_a_refusal_never_shows_a_value(line: str) -> None:
    with pytest.raises(UserMistake) as refused:
        parse_headers([line])
    assert "hunter2" not in f"{refused.value.message} {refused.value.remedy}"
