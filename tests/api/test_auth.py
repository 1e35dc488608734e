"""Who may: tokens of the operator, JWTs of tenants, and what is refused how."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.api import jwks
from relay.config import load
from relay.errors import ConfigError
from relay.tokens import parse_tokens
from tests.api.conftest import JWT_SECRET, OTHER_TOKEN, TOKEN, Client, Serve, Served, token_of
from tests.conftest import Connection

URL = "https://example.com/hook"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def challenge(client: Client) -> str:
    told = client.get("/webhooks")
    told.refused(401, "unauthorized")
    return told.headers["www-authenticate"]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_without_credentials_the_challenge_names_no_error(api: Served) -> None:
    """RFC 6750, section 3.1."""
    assert challenge(api.nobody) == 'Bearer realm="rowhook"'
    assert 'error="invalid_token"' in challenge(api.client(TOKEN[:-1]))
    told = api.nobody.get("/webhooks", Authorization="Basic YTpi")
    assert told.refused(401) and "error=" not in told.headers["www-authenticate"]


def test_each_token_has_its_name_in_the_record(api: Served, conn: Connection) -> None:
    for token in (TOKEN, OTHER_TOKEN):
        api.client(token).post("/webhooks", {"url": URL}).ok(201)
    assert conn.execute("SELECT who, via FROM rowhook.admin_log ORDER BY id").fetchall() == [("alice", "api"), ("bob", "api")]


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", f"Bearer {TOKEN} x", f"Bearer\t{TOKEN}", TOKEN, "Bearer ü"])
def test_what_is_no_bearer_token_is_401(api: Served, value: str) -> None:
    api.nobody.ask("GET", "/webhooks", headers={"Authorization": value.encode("latin-1").decode("latin-1")}).refused(401)


def test_scheme_in_any_case(api: Served) -> None:
    api.nobody.get("/webhooks", Authorization=f"bearer {TOKEN}").ok()


def test_tokens_are_kept_as_hashes_and_refused_without_being_shown() -> None:
    assert TOKEN not in repr(parse_tokens(f"a:{TOKEN}"))
    for wrong in ("a:short", f"a b:{TOKEN}", f"a:{TOKEN},a:{OTHER_TOKEN}", f"x:{TOKEN} y"):
        with pytest.raises(ConfigError, match="ROWHOOK_API_TOKEN") as refused:
            load(ROWHOOK_API_TOKEN=wrong)
        assert "short" not in str(refused.value).partition("is too short")[0] and TOKEN not in str(refused.value)


# --- JWTs by a shared secret ------------------------------------------------------------------------------------------

WRONG: dict[str, Callable[[], str]] = {
    "expired": lambda: token_of(7, exp=int(time.time()) - 60),
    "not yet valid": lambda: token_of(7, nbf=int(time.time()) + 600),
    "without an end": lambda: token_of(7, exp=None),
    "signed by another": lambda: token_of(7, "another secret, which is long enough too"),
    "a refresh token": lambda: token_of(7, type="refresh"),
    "for another audience": lambda: token_of(7, aud="elsewhere"),
    "of nobody": lambda: token_of(7, sub=None),
    "of an empty name": lambda: token_of(""),
    "of a list": lambda: token_of(7, sub=["7"]),
    "of a name with a NUL": lambda: token_of("7\x00"),
    "unsigned": lambda: jwt.encode({"sub": "7", "exp": int(time.time()) + 900}, "", algorithm="none"),
    "signed over other claims": lambda: _spliced(token_of(7), token_of(8)),
    "cut off": lambda: token_of(7)[:-4],
    "an odd end": lambda: token_of(7, exp="tomorrow"),
    "an end beyond all time": lambda: _by_hand({"sub": "7", "exp": 1e400}),
}  # fmt: skip


def _spliced(signed: str, other: str) -> str:
    """The claims of one under the signature of the other."""
    head, _, signature = signed.split(".")
    return ".".join([head, other.split(".")[1], signature])


def _by_hand(claims: dict[str, Any]) -> str:
    """What no library would make: JSON's Infinity as an end."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims)]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), JWT_SECRET.encode())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.fixture(scope="module")
def checker() -> Callable[..., str]:
    """Whom a token speaks for, without a server: (token, setting=value …)."""
    import asyncio

    from relay.api.jwts import Jwts

    def check(token: str, **given: str) -> str:
        settings = load(_env_file=None, **{f"ROWHOOK_{name.upper()}": value for name, value in given.items()})
        return asyncio.run(Jwts(settings).tenant(token))

    return check


@pytest.mark.parametrize("what", WRONG)
def test_jwts_that_are_refused(checker: Callable[..., str], what: str) -> None:
    from relay.api.jwts import Refused

    with pytest.raises(Refused):
        checker(WRONG[what](), jwt_secret=JWT_SECRET)


def test_jwts_that_are_accepted(checker: Callable[..., str]) -> None:
    assert checker(token_of(7), jwt_secret=JWT_SECRET) == "7"
    assert checker(token_of(0, sub=12), jwt_secret=JWT_SECRET) == "12", "a number, as older libraries make them"
    assert checker(token_of(7, org="acme"), jwt_secret=JWT_SECRET, jwt_tenant_claim="org") == "acme"
    assert checker(token_of(7, aud="hooks", iss="me"), jwt_secret=JWT_SECRET, jwt_audience="hooks", jwt_issuer="me") == "7"
    assert checker(token_of(7, exp=int(time.time()) - 5), jwt_secret=JWT_SECRET) == "7", "clocks differ"


# --- public keys: no token chooses how it is verified -------------------------------------------------------------------


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


CLAIMS = {"sub": "7", "exp": int(time.time()) + 3600}


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA")], ids=lambda v: str(v)[:6]
)
def test_a_key_file_verifies(checker: Callable[..., str], tmp_path: Path, key: Any, algorithm: str) -> None:
    (tmp_path / "key.pem").write_bytes(pem(key))
    assert checker(jwt.encode(CLAIMS, key, algorithm=algorithm), jwt_key_file=str(tmp_path / "key.pem")) == "7"


def _hs256_with(secret: bytes) -> str:
    """By hand: PyJWT itself refuses to sign with a public key."""
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, CLAIMS))
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head + b"." + body, secret)
    return (head + b"." + body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_public_key_is_no_secret(checker: Callable[..., str], tmp_path: Path) -> None:
    """HS256 "signed" with the public key's text, alone and beside a secret; and the other way round."""
    from relay.api.jwts import Refused

    (tmp_path / "key.pem").write_bytes(pem(RSA))
    for given in ({}, {"jwt_secret": JWT_SECRET}):
        for secret in (pem(RSA), pem(RSA).strip()):
            with pytest.raises(Refused):
                checker(_hs256_with(secret), jwt_key_file=str(tmp_path / "key.pem"), **given)
        assert checker(jwt.encode(CLAIMS, RSA, algorithm="RS256"), jwt_key_file=str(tmp_path / "key.pem"), **given) == "7"
    with pytest.raises(Refused):
        checker(jwt.encode(CLAIMS, RSA, algorithm="RS256"), jwt_secret=JWT_SECRET)
    with pytest.raises(Refused):
        checker(token_of(7), jwt_key_file=str(tmp_path / "key.pem"))


def jwk(key: Any, id: str, **more: str) -> dict[str, Any]:
    algorithms: dict[Any, Any] = {
        RSA: jwt.algorithms.RSAAlgorithm,
        EC: jwt.algorithms.ECAlgorithm,
        ED: jwt.algorithms.OKPAlgorithm,
    }
    return {**json.loads(algorithms[key].to_jwk(key.public_key())), "kid": id, **more}


class Issuer:
    """Serves a JWK set, and counts who asks."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(200 if issuer.keys else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


def by(key: Any, algorithm: str, id: str) -> str:
    return jwt.encode(CLAIMS, key, algorithm=algorithm, headers={"kid": id})


def test_a_key_set_is_kept_and_asked_for_again_when_it_lacks_a_key(
    serve: Serve, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.keys = [jwk(RSA, "one"), {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "shared"}]
    api = serve(jwt_secret="", jwks_url=issuer.url)
    for _ in range(3):
        api.client(by(RSA, "RS256", "one")).get("/webhooks").ok()
    assert issuer.asked == 1
    for _ in range(3):
        api.client(by(EC, "ES256", "two")).get("/webhooks").refused(401)
    assert issuer.asked == 1, "not before ten seconds are over, whatever tokens name"
    issuer.keys.append(jwk(EC, "two"))
    monkeypatch.setattr(jwks, "ASK_AGAIN_AFTER", 0.0)
    api.client(by(EC, "ES256", "two")).get("/webhooks").ok()
    assert issuer.asked == 2
    secret = base64.urlsafe_b64decode("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    api.client(jwt.encode(CLAIMS, secret, algorithm="HS256", headers={"kid": "shared"})).get("/webhooks").refused(401)
    api.client(by(EC, "ES256", "one")).get("/webhooks").refused(401)


def test_while_the_key_set_cannot_be_had_it_is_503_and_tokens_of_the_operator_work(serve: Serve, issuer: Issuer) -> None:
    api = serve(jwt_secret="", jwks_url=issuer.url)
    told = api.client(by(RSA, "RS256", "one")).get("/webhooks")
    told.refused(503, "unavailable")
    assert told.headers["retry-after"]
    api.operator.get("/webhooks").ok()


# --- neither ----------------------------------------------------------------------------------------------------------

OPEN = {"api_token": "", "jwt_secret": ""}


def test_with_nothing_set_up_this_machine_is_the_operator_and_nobody_else(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    api = serve(**OPEN)
    assert "loopback only" in caplog.text
    api.nobody.post("/webhooks", {"url": URL}).ok(201)
    api.nobody.get("/webhooks", X_Forwarded_For="203.0.113.9").refused(403, "only-loopback")
    api.nobody.get("/webhooks", Host="rebound.example").refused(403, "foreign-page")
    api.nobody.get("/webhooks", Origin="https://evil.example").refused(403, "foreign-page")


def test_the_same_on_every_address_answers_the_loopback_only(serve: Serve) -> None:
    import http.client
    import socket

    api = serve(**OPEN, api_listen="0.0.0.0:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    for host, headers, status in (
        ("127.0.0.1", {}, 200),
        (own, {}, 403),
        ("127.0.0.1", {"Host": "rebound.example"}, 403),
        ("127.0.0.1", {"Origin": "https://evil.example"}, 403),
    ):
        connection = http.client.HTTPConnection(host, api.port, timeout=10)
        connection.request("GET", "/webhooks", headers=headers)
        assert connection.getresponse().status == status, (host, headers)
        connection.close()


def test_with_nothing_set_up_no_page_may_ask_whatever_is_named(serve: Serve) -> None:
    api = serve(**OPEN, cors_origins="https://app.example,*")
    api.nobody.get("/webhooks", Origin="https://app.example").refused(403, "foreign-page")
