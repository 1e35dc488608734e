"""The key that tests encrypt secrets with, and another one."""

from __future__ import annotations

from relay.keyring import Keyring

KEY = "dGhlIGtleSB0aGF0IHRlc3RzIGVuY3J5cHQgd2l0aC4"
OTHER_KEY = "YW5vdGhlciBrZXksIG5vdCB0aGUgdGVzdHMnIG93bi4"
KEYRING = Keyring.parse(KEY)
