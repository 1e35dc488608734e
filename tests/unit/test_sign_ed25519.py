"""ed25519 signatures, ``v1a`` of Standard Webhooks."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.errors import UserMistake
from relay.sign import Secret, headers, parse_signer
from relay.sign_ed25519 import SigningKey

SEED = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
BODY = b'{"id":"evt_1"}'


def spelled(prefix: str, data: bytes) -> str:
    return prefix + base64.b64encode(data).decode()


def test_a_receiver_with_the_public_key_alone_verifies() -> None:
    key = SigningKey.new()
    scheme, _, signature = key.sign(b"evt_1.1700000000.", BODY).partition(",")
    assert scheme == "v1a"
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public.removeprefix("whpk_")))
    verifier.verify(base64.b64decode(signature), b"evt_1.1700000000." + BODY)
    with pytest.raises(InvalidSignature):
        verifier.verify(base64.b64decode(signature), b"evt_1.1700000001." + BODY)


@pytest.mark.parametrize("given", [SEED, SEED + PUBLIC])
def test_a_seed_and_a_pair_are_the_same_key(given: bytes) -> None:
    key = SigningKey.parse(spelled("whsk_", given))
    assert (key.text, key.public) == (spelled("whsk_", SEED + PUBLIC), spelled("whpk_", PUBLIC))


@pytest.mark.parametrize(
    "text", ["whsk_", "whsk_nonsense", spelled("whsk_", SEED[:31]), spelled("whsk_", SEED + SEED), spelled("whpk_", PUBLIC)]
)
def test_what_is_no_secret_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UserMistake) as refused:
        parse_signer(text)
    assert text.removeprefix("whsk_")[:8] == "" or text.removeprefix("whsk_")[:8] not in refused.value.message


def test_no_repr_shows_the_key() -> None:
    key = SigningKey.parse(spelled("whsk_", SEED))
    assert key.text not in repr(key) and key.public in repr(key)


def test_both_schemes_sign_while_one_takes_over_from_the_other() -> None:
    new, old = SigningKey.new(), Secret.parse("whsec_" + "A" * 32)
    made = headers(
        secrets=[new, old], webhook_id="evt_1", timestamp=1, event_type="a.b", delivery_id="dlv_1", attempt=1, body=BODY
    )
    assert [part.partition(",")[0] for part in made["webhook-signature"].split()] == ["v1a", "v1"]
    assert made["X-Hub-Signature-256"] == old.sign_for_hub(BODY)
    alone = headers(secrets=[new], webhook_id="evt_1", timestamp=1, event_type="a.b", delivery_id="d", attempt=1, body=BODY)
    assert "X-Hub-Signature-256" not in alone
