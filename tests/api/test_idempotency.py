"""Idempotency-Key: the same request again does nothing and is answered the same; and what of the answer is kept where."""

from __future__ import annotations

import base64
import threading

from tests.api.conftest import Client, Serve, Served, Told
from tests.conftest import Connection
from tests.pipeline.conftest import one

BODY = {"url": "https://example.com/hook"}


def count(conn: Connection) -> int:
    return int(one(conn, "SELECT count(*) FROM rowhook.endpoint"))


def test_the_same_again_is_answered_the_same_and_done_once(operator: Client, conn: Connection) -> None:
    first = operator.post("/webhooks", BODY, Idempotency_Key="k1")
    again = operator.post("/webhooks/", BODY, Idempotency_Key="k1")
    assert again.ok(201) == first.ok(201) and count(conn) == 1
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert again.headers["location"] == first.headers["location"] and again.headers["etag"] == first.headers["etag"]
    assert one(conn, "SELECT count(*) FROM rowhook.admin_log") == 1


def test_another_request_with_the_key_is_refused_and_another_principal_has_other_keys(api: Served, conn: Connection) -> None:
    api.operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)
    api.operator.post("/webhooks", {**BODY, "events": ["a"]}, Idempotency_Key="k1").refused(422, "idempotency-key-reused")
    api.tenant("alice").post("/webhooks", {**BODY, "events": ["a"]}, Idempotency_Key="k1").ok(201)
    assert count(conn) == 2
    api.operator.post("/webhooks", BODY, Idempotency_Key="two words").refused(400, "malformed-header")


def test_what_was_refused_leaves_the_key_free(operator: Client) -> None:
    operator.post("/webhooks", {"url": "https://10.0.0.1/"}, Idempotency_Key="k1").refused(422)
    operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)


def test_two_at_the_same_moment_are_one(operator: Client, conn: Connection) -> None:
    told: list[Told] = []
    both = [threading.Thread(target=lambda: told.append(operator.post("/webhooks", BODY, Idempotency_Key="k"))) for _ in range(4)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert count(conn) == 1 and len({one.text for one in told}) == 1 and {one.status for one in told} == {201}


def test_the_secret_in_a_kept_answer_is_encrypted_and_bound_to_its_key(operator: Client, conn: Connection) -> None:
    secret = operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)["secret"]
    ((kept,),) = conn.execute("SELECT answer FROM rowhook.idempotency").fetchall()
    for text in (secret, secret.removeprefix("whsec_")):
        assert text.encode() not in bytes(kept) and base64.b64decode(secret.removeprefix("whsec_")) not in bytes(kept)
    conn.execute("UPDATE rowhook.idempotency SET key = 'k2'")
    told = operator.post("/webhooks", BODY, Idempotency_Key="k2")
    told.refused(409, "answer-lost")
    assert count(conn) == 1


def test_a_key_is_free_after_a_day_and_the_row_goes(operator: Client, conn: Connection) -> None:
    operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)
    operator.post("/webhooks", BODY, Idempotency_Key="other").ok(201)
    assert one(conn, "SELECT max(expires_at) - now() > interval '23 hours' FROM rowhook.idempotency")
    conn.execute("UPDATE rowhook.idempotency SET expires_at = clock_timestamp()")
    operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)
    assert count(conn) == 3
    assert conn.execute("SELECT key FROM rowhook.idempotency").fetchall() == [("k1",)]


def test_under_a_new_key_of_secrets_the_old_one_still_opens(serve: Serve, operator: Client) -> None:
    from tests.keys import KEY, OTHER_KEY

    first = operator.post("/webhooks", BODY, Idempotency_Key="k1").ok(201)
    renewed = serve(secret_key=f"{OTHER_KEY},{KEY}").operator
    assert renewed.post("/webhooks", BODY, Idempotency_Key="k1").ok(201) == first
