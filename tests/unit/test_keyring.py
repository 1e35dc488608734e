"""Encryption at rest: what is sealed opens with its key and for its row alone, and nothing shows a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import UserMistake
from relay.keyring import Keyring, Sealed, Unreadable, for_headers, for_secret, new_key
from tests.keys import KEY, KEYRING, OTHER_KEY


@given(st.text(min_size=1), st.text())
def test_what_is_sealed_opens(text: str, context: str) -> None:
    text, context = (t.encode("utf-8", "replace").decode() for t in (text, context))
    sealed = KEYRING.seal(text, context)
    assert KEYRING.open(sealed, context) == text
    assert text.encode() not in sealed.ciphertext or len(text) < 4


def test_the_same_text_is_never_sealed_the_same() -> None:
    assert KEYRING.seal("whsec_x", "a").ciphertext != KEYRING.seal("whsec_x", "a").ciphertext


def test_the_newest_key_seals_and_the_old_ones_open() -> None:
    old = KEYRING.seal("a secret", "c")
    both = Keyring.parse(f"{OTHER_KEY},{KEY}")
    assert both.open(old, "c") == "a secret"
    assert both.seal("a secret", "c").key_id == Keyring.parse(OTHER_KEY).newest != old.key_id


@pytest.mark.parametrize("other", [for_secret(1, 3), for_secret(2, 2), for_headers(1), ""])
def test_a_ciphertext_that_was_moved_to_another_row_does_not_open(other: str) -> None:
    sealed = KEYRING.seal("a secret", for_secret(1, 2))
    with pytest.raises(Unreadable, match="belongs to another row"):
        KEYRING.open(sealed, other)


@pytest.mark.parametrize("at", [0, 12, -1])
def test_one_that_was_changed_does_not_open(at: int) -> None:
    sealed = KEYRING.seal("a secret", "c")
    changed = bytearray(sealed.ciphertext)
    changed[at] ^= 1
    with pytest.raises(Unreadable, match="was changed"):
        KEYRING.open(Sealed(sealed.key_id, bytes(changed)), "c")


def test_without_its_key_it_says_which_is_missing() -> None:
    sealed = Keyring.parse(OTHER_KEY).seal("a secret", "c")
    with pytest.raises(Unreadable, match=f"key {sealed.key_id}, which ROWHOOK_SECRET_KEY lacks"):
        KEYRING.open(sealed, "c")


@pytest.mark.parametrize(
    "text",
    ["", " , ", "a passphrase that somebody chose", KEY[:-4], KEY + "AAAA", "ключ", f"{KEY},nonsense", ",".join([KEY] * 21)],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UserMistake) as refused:
        Keyring.parse(text)
    said = f"{refused.value.message} {refused.value.remedy}"
    assert KEY not in said and "passphrase that" not in said
    assert "keygen" in said or "rekey" in said


def test_new_keys_are_taken_in_each_spelling() -> None:
    key = new_key()
    for text in (key, key + "=", key.replace("-", "+").replace("_", "/"), f"  {key}\n"):
        assert Keyring.parse(text).newest == Keyring.parse(key).newest
    assert len({new_key() for _ in range(100)}) == 100
    assert not any(new_key().startswith("-") for _ in range(500))


def test_no_repr_shows_a_key_or_a_ciphertext() -> None:
    sealed = KEYRING.seal("a secret", "c")
    assert KEY not in repr(KEYRING) and repr(sealed.ciphertext) not in repr(sealed)
    assert KEYRING.newest in repr(KEYRING)
