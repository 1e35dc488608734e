"""Signatures, verified by libraries that others wrote and by the ten lines that GitHub's receivers use.

How the libraries take a secret: `Webhook("whsec_…")` decodes base64 after the prefix, and any other str as
base64 from its beginning, dropping what is none; `Webhook(b"…")` takes bytes as the key. So they are given a plain
secret as bytes, or in the form `Secret.whsec`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from relay import __version__
from relay.errors import UserMistake
from relay.sign import Secret, headers, hub_signature, new_secret, signature

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "correct horse battery staple ✓"
BODY = '{"id":"evt_1","type":"expense.created","data":{"amount":99.50,"notes":"Größe ✓"}}'.encode()

LIBRARIES: list[type[Any]] = [standardwebhooks.Webhook, svix.webhooks.Webhook]


def signed(*secrets: str, body: bytes = BODY, webhook_id: str = "evt_1", timestamp: int | None = None) -> dict[str, str]:
    """All headers of a genuine request."""
    return headers(
        secrets=[Secret.parse(secret) for secret in secrets],
        webhook_id=webhook_id,
        timestamp=int(time.time()) if timestamp is None else timestamp,
        event_type="expense.created",
        delivery_id="dlv_1",
        attempt=2,
        body=body,
    )


def as_libraries_take_it(secret: str) -> str | bytes:
    return secret if secret.startswith("whsec_") else secret.encode()


def github_receiver_accepts(secret: str, received: Mapping[str, str], body: bytes) -> bool:
    """What a receiver in GitHub's manner does, with the secret as it stands in its settings."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, received["X-Hub-Signature-256"])


# --- what others say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("secret", [WHSEC, new_secret(), PLAIN, "x" * 16])
def test_libraries_accept(library: Callable[[str | bytes], Any], secret: str) -> None:
    library(as_libraries_take_it(secret)).verify(BODY, signed(secret))
    library(Secret.parse(secret).whsec).verify(BODY, signed(secret))


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_refuse_a_plain_secret_as_str(library: Callable[[str | bytes], Any]) -> None:
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library("0123456789abcdef").verify(BODY, signed("0123456789abcdef"))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("secret", [WHSEC, PLAIN])
@pytest.mark.parametrize(
    "tampered",
    [
        {"body": BODY.replace(b"99.50", b"99.51")},
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
    ],
)
def test_libraries_refuse_what_was_tampered_with(
    library: Callable[[str | bytes], Any], secret: str, tampered: dict[str, Any]
) -> None:
    changed = {"body": BODY, **signed(secret), **tampered}
    body = changed.pop("body")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(as_libraries_take_it(secret)).verify(body, changed)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("age", "accepted"), [(290, True), (310, False), (-290, True), (-310, False)]
)  # five minutes to either side, and ten seconds for this test
def test_libraries_refuse_old_and_future_requests(library: Callable[[str | bytes], Any], age: int, accepted: bool) -> None:
    request = signed(WHSEC, timestamp=int(time.time()) - age)
    if accepted:
        library(WHSEC).verify(BODY, request)
    else:
        with pytest.raises(standardwebhooks.WebhookVerificationError, match="timestamp too"):
            library(WHSEC).verify(BODY, request)


@pytest.mark.parametrize("library", LIBRARIES)
def test_while_secrets_rotate_both_verify(library: Callable[[str | bytes], Any]) -> None:
    old, new = WHSEC, new_secret()
    request = signed(new, old)
    for secret in (old, new):
        library(secret).verify(BODY, request)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(new_secret()).verify(BODY, request)
    assert github_receiver_accepts(new, request, BODY)
    assert not github_receiver_accepts(old, request, BODY)


@pytest.mark.parametrize("secret", [WHSEC, new_secret(), PLAIN])
def test_github_receiver(secret: str) -> None:
    request = signed(secret)
    assert github_receiver_accepts(secret, request, BODY)
    assert not github_receiver_accepts(secret, request, BODY + b" ")
    assert not github_receiver_accepts(secret + "x", request, BODY)


def test_standard_webhooks_own_example() -> None:
    """The values that the libraries' own tests use."""
    secret = Secret.parse(WHSEC)
    assert (
        signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_github_own_example() -> None:
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries, "Testing"."""
    assert (
        hub_signature(Secret.parse("It's a Secret to Everybody"), b"Hello, World!")
        == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


# --- headers -----------------------------------------------------------------------------------------------


def test_headers_are_those_of_the_wire_format() -> None:
    secret = Secret.parse(WHSEC)
    assert signed(WHSEC, timestamp=1767225600) == {
        "content-type": "application/json",
        "user-agent": f"Rowhook/{__version__}",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1767225600",
        "webhook-signature": signature([secret], "evt_1", 1767225600, BODY),
        "X-Hub-Signature-256": hub_signature(secret, BODY),
        "X-Rowhook-Event": "expense.created",
        "X-Rowhook-Delivery": "dlv_1",
        "X-Rowhook-Attempt": "2",
    }


def test_prefix_names_three_headers() -> None:
    secret = Secret.parse(WHSEC)
    made = headers(
        secrets=[secret],
        webhook_id="evt_1",
        timestamp=1,
        event_type="bill.paid",
        delivery_id="dlv_9",
        attempt=1,
        body=b"{}",
        prefix="X-FinMind",
    )
    assert {name: value for name, value in made.items() if name.startswith("X-FinMind")} == {
        "X-FinMind-Event": "bill.paid",
        "X-FinMind-Delivery": "dlv_9",
        "X-FinMind-Attempt": "1",
    }
    assert not [name for name in made if name.startswith("X-Rowhook")]


@given(
    st.binary(min_size=24, max_size=64),
    st.text(st.characters(min_codepoint=33, max_codepoint=126)),
    st.integers(0, 2**40),
    st.binary(),
)
def test_signature_is_the_formula(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> None:
    secret = Secret.parse("whsec_" + base64.b64encode(key).decode())
    for _ in range(2):  # what is kept of the key is not used up
        content = f"{webhook_id}.{timestamp}.".encode() + body
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        assert signature([secret], webhook_id, timestamp, body) == f"v1,{expected}"


# --- secrets -----------------------------------------------------------------------------------------------


def test_new_secrets_differ_and_hold_32_bytes() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(Secret.parse(text).key) for text in made} == {32}


def test_whsec_has_two_keys() -> None:
    secret = Secret.parse(WHSEC)
    assert secret.key == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert secret.text == secret.whsec == WHSEC


def test_plain_has_one() -> None:
    secret = Secret.parse(PLAIN)
    assert secret.key == PLAIN.encode()
    assert secret.text == PLAIN
    assert base64.b64decode(secret.whsec.removeprefix("whsec_")) == PLAIN.encode()


def _whsec(length: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(length))).decode()


@pytest.mark.parametrize("text", [_whsec(24), _whsec(64), "x" * 16, "pass phrase with spaces", "пароль-пароль-да"])
def test_accepts(text: str) -> None:
    assert Secret.parse(text).text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has 0 characters"),
        ("x" * 15, "has 15 characters: give 16 or more"),
        (_whsec(23), "decodes to 23 bytes"),
        (_whsec(65), "decodes to 65 bytes"),
        ("whsec_", "decodes to 0 bytes"),
        (_whsec(32).rstrip("="), "something else than base64"),
        (_whsec(32).replace("=", "=="), "something else than base64"),
        ("whsec_" + "-_" * 20, "something else than base64"),
        ("whsec_" + "é" * 32, "something else than base64"),
        ("whsec_not base64 at all, no", "something else than base64"),
        # The last character's spare bits are set: some decoders drop them, others refuse.
        (_whsec(25)[:-3] + "B==", "something else than base64"),
        (WHSEC + "\n", "white space at an end"),
        (" " + PLAIN, "white space at an end"),
        ("tab\tin the middle of it", "does not print"),
        ("nul\0in the middle of it", "does not print"),
        ("lone surrogate \ud800 in it", "not valid Unicode"),
    ],
)
def test_refuses_without_showing_it(text: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        Secret.parse(text)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    shown = text.removeprefix("whsec_").strip()
    assert len(shown) < 6 or shown not in message
    # Nor in what a traceback prints: the error has no cause that quotes it.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", [WHSEC, PLAIN])
def test_repr_and_str_hide_it(text: str) -> None:
    secret = Secret.parse(text)
    for shown in (repr(secret), str(secret), f"{secret}", repr([secret]), json.dumps({"s": str(secret)})):
        assert text not in shown
        assert text.removeprefix("whsec_") not in shown
        assert repr(secret.key) not in shown
    assert repr(secret) == "Secret()"


def test_equal_by_value() -> None:
    assert Secret.parse(WHSEC) == Secret.parse(WHSEC)
    assert Secret.parse(WHSEC) != Secret.parse(PLAIN)
    assert len({Secret.parse(WHSEC), Secret.parse(WHSEC)}) == 1
