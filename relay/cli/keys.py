"""rowhook keygen, rekey"""

from __future__ import annotations

from relay.audit import by_command
from relay.cli.output import Json, as_json, line, note
from relay.cli.session import at_work_with_keys
from relay.errors import RowhookError
from relay.keyring import new_key
from relay.rekey import rekey


def keygen_command() -> None:
    """Print a new key for ROWHOOK_SECRET_KEY."""
    note("set it as ROWHOOK_SECRET_KEY, in the environment or in .env, for every rowhook of this database")
    note("keep a copy: without it stored secrets can't be read. To replace a key: ROWHOOK_SECRET_KEY=NEW,OLD, then rowhook rekey")
    line(new_key())


def rekey_command(json: Json = False) -> None:
    """Encrypt all stored secrets, headers and client keys with the newest key, the first of ROWHOOK_SECRET_KEY."""
    with at_work_with_keys() as (_, connection, keyring):
        done = rekey(connection, by_command(), keyring)
    if json:
        counts = {"secrets": done.secrets, "headers": done.headers, "client_keys": done.client_keys}
        as_json({**counts, "key_id": keyring.newest, "unreadable": done.unreadable})
    else:
        counted = f"secrets: {done.secrets}, endpoints' headers: {done.headers}, client keys: {done.client_keys}"
        line(f"encrypted with key {keyring.newest}: {counted}")
    if done.unreadable:
        raise RowhookError(
            f"what {len(done.unreadable)} endpoints have can't be read and stays as it was ({', '.join(done.unreadable[:5])}):"
            " add the key that they were encrypted with to ROWHOOK_SECRET_KEY, or rotate their secrets"
        )
