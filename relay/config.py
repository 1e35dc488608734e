"""Settings: the environment, then `.env` in the working folder (python-dotenv); one place for names, defaults, checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from yarl import URL

from relay.address import parse_networks
from relay.circuit import Patience
from relay.errors import ConfigError, UserMistake
from relay.keyring import Keyring
from relay.loopback import is_loopback, parse_origins
from relay.policy import Policy, parse_ports, policy
from relay.retry import LONGEST_WAIT, Schedule, parse_schedule
from relay.sign import Secret
from relay.tokens import parse_tokens

MOST_PROCESSES = 64
LONGEST_TIMEOUT = timedelta(days=1)  # the table of endpoints has the same bound
_KEEP = re.compile(r"([0-9]{1,5}) ?(s|min|m|h|d)")
HEADER_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def _header_prefix(text: str) -> str:
    if not HEADER_PREFIX.fullmatch(text):
        raise ValueError("give letters, digits and -, e.g. X-Rowhook")
    return text


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """Keep the text, once it can be parsed; pydantic knows a user's mistake as a ValueError."""

    def check(text: str) -> str:
        try:
            parse(text)
        except UserMistake as mistake:
            raise ValueError(str(mistake)) from None
        return text

    return AfterValidator(check)


class Settings(BaseSettings):
    """Every setting that this version reads. Durations are written 15s, 5min, 5d."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: str = Field("", validation_alias="DATABASE_URL", repr=False)
    admin_url: str = Field("", validation_alias="ROWHOOK_ADMIN_URL", repr=False)
    listen_url: str = Field("", validation_alias="ROWHOOK_LISTEN_URL", repr=False)
    capture: str = Field("", validation_alias="ROWHOOK_CAPTURE")
    recipes: str = Field("", validation_alias="ROWHOOK_RECIPES")
    default_secret: Annotated[str, checked(lambda text: text and Secret.parse(text))] = Field(
        "", validation_alias="ROWHOOK_DEFAULT_SECRET", repr=False
    )
    secret_key: Annotated[str, checked(lambda text: text and Keyring.parse(text))] = Field(
        "", validation_alias="ROWHOOK_SECRET_KEY", repr=False
    )
    retry_schedule: Annotated[str, checked(parse_schedule)] = Field("2s,4s,8s,16s,32s", validation_alias="ROWHOOK_RETRY_SCHEDULE")
    timeout: Annotated[str, checked(lambda text: duration(text, LONGEST_TIMEOUT))] = Field(
        "15s", validation_alias="ROWHOOK_TIMEOUT"
    )
    connect_wait: Annotated[str, checked(lambda text: duration(text))] = Field("10s", validation_alias="ROWHOOK_CONNECT_WAIT")
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = Field(256, validation_alias="ROWHOOK_MAX_IN_FLIGHT")
    processes: Annotated[int, Field(ge=1, le=MOST_PROCESSES)] = Field(1, validation_alias="ROWHOOK_PROCESSES")
    max_queued_bytes: Annotated[ByteSize, Field(ge=1)] = Field(ByteSize(32 * 2**20), validation_alias="ROWHOOK_MAX_QUEUED_BYTES")
    disable_after: Annotated[str, checked(lambda text: duration(text))] = Field("5d", validation_alias="ROWHOOK_DISABLE_AFTER")
    circuit_after: Annotated[str, checked(lambda text: duration(text))] = Field("10s", validation_alias="ROWHOOK_CIRCUIT_AFTER")
    longest_probe_wait: Annotated[str, checked(lambda text: duration(text))] = Field(
        "1min", validation_alias="ROWHOOK_LONGEST_PROBE_WAIT"
    )
    header_prefix: Annotated[str, AfterValidator(_header_prefix)] = Field("X-Rowhook", validation_alias="ROWHOOK_HEADER_PREFIX")
    api_listen: Annotated[str, checked(lambda text: listen_address(text))] = Field(
        "127.0.0.1:8080", validation_alias="ROWHOOK_API_LISTEN"
    )
    api_token: Annotated[str, checked(parse_tokens)] = Field("", validation_alias="ROWHOOK_API_TOKEN", repr=False)
    jwt_secret: str = Field("", validation_alias="ROWHOOK_JWT_SECRET", repr=False)
    jwks_url: Annotated[str, checked(lambda text: text and key_set_url(text))] = Field("", validation_alias="ROWHOOK_JWKS_URL")
    jwt_key_file: str = Field("", validation_alias="ROWHOOK_JWT_KEY_FILE")
    jwt_tenant_claim: str = Field("sub", validation_alias="ROWHOOK_JWT_TENANT_CLAIM")
    jwt_audience: str = Field("", validation_alias="ROWHOOK_JWT_AUDIENCE")
    jwt_issuer: str = Field("", validation_alias="ROWHOOK_JWT_ISSUER")
    max_endpoints_per_tenant: Annotated[int, Field(ge=0)] = Field(20, validation_alias="ROWHOOK_MAX_ENDPOINTS_PER_TENANT")
    cors_origins: Annotated[str, checked(parse_origins)] = Field("", validation_alias="ROWHOOK_CORS_ORIGINS")
    api_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(100.0, validation_alias="ROWHOOK_API_RATE")
    api_connections: Annotated[int, Field(ge=1, le=100)] = Field(4, validation_alias="ROWHOOK_API_CONNECTIONS")
    api_max_body: Annotated[ByteSize, Field(ge=1024, le=64 * 2**20)] = Field(
        ByteSize(256 * 2**10), validation_alias="ROWHOOK_API_MAX_BODY"
    )
    transport: Literal["aiohttp", "lean"] = Field("aiohttp", validation_alias="ROWHOOK_TRANSPORT")
    allow_networks: Annotated[str, checked(parse_networks)] = Field("", validation_alias="ROWHOOK_ALLOW_NETWORKS")
    deny_networks: Annotated[str, checked(parse_networks)] = Field("", validation_alias="ROWHOOK_DENY_NETWORKS")
    allow_ports: Annotated[str, checked(parse_ports)] = Field("", validation_alias="ROWHOOK_ALLOW_PORTS")
    allow_http: bool = Field(False, validation_alias="ROWHOOK_ALLOW_HTTP")
    proxy: Annotated[str, checked(lambda text: text and proxy_url(text))] = Field(
        "", validation_alias="ROWHOOK_PROXY", repr=False
    )
    retention: Annotated[str, checked(lambda text: keep(text))] = Field("30d", validation_alias="ROWHOOK_RETENTION")
    archive: str = Field("", validation_alias="ROWHOOK_ARCHIVE")
    archive_format: Literal["jsonl", "parquet"] = Field("jsonl", validation_alias="ROWHOOK_ARCHIVE_FORMAT")
    log_format: Literal["text", "json"] = Field("text", validation_alias="ROWHOOK_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="ROWHOOK_LOG_LEVEL")

    @property
    def url_for_admin(self) -> str:
        return self.admin_url or self.database_url

    @property
    def url_for_listening(self) -> str:
        return self.listen_url or self.database_url

    @cached_property
    def schedule(self) -> Schedule:
        return parse_schedule(self.retry_schedule)

    @property
    def patience(self) -> Patience:
        return Patience(duration(self.circuit_after), duration(self.longest_probe_wait), duration(self.disable_after))

    @property
    def keep(self) -> timedelta | None:
        """How long what has ended is kept; None: for ever."""
        return keep(self.retention)

    @property
    def archive_folder(self) -> Path | None:
        return Path(self.archive) if self.archive else None

    @cached_property
    def api_address(self) -> tuple[str, int]:
        return listen_address(self.api_listen)

    @cached_property
    def policy(self) -> Policy:
        return policy(self.allow_networks, self.deny_networks, self.allow_ports, allow_http=self.allow_http)

    @cached_property
    def captures(self) -> tuple[tuple[str, str | None], ...]:
        """Tables that `run` makes sure are captured, each with its tenant's column: ``expenses:user_id,bills``."""
        pairs = (part.strip().partition(":") for part in self.capture.split(",") if part.strip())
        return tuple((table.strip(), tenant.strip() or None) for table, _, tenant in pairs)

    @cached_property
    def recipe_names(self) -> tuple[str, ...]:
        """Recipes that `run` makes sure are installed: ``finmind``."""
        return tuple(dict.fromkeys(part.strip() for part in self.recipes.split(",") if part.strip()))


def duration(text: str, most: timedelta = LONGEST_WAIT) -> timedelta:
    """One duration, 15s or 5d, as one wait of a schedule; ``most`` in whole days. Raises UserMistake."""
    right = f"give a number and a unit (ms, s, m or min, h, d), {most.days}d at most, e.g. 15s, 5min, 1d"
    try:
        (parsed,) = parse_schedule(text)
    except (UserMistake, ValueError):  # no wait; none or several of them
        raise UserMistake(f"{text!r} is not one duration", right) from None
    if parsed <= timedelta():
        raise UserMistake(f"{text!r} is no time at all", "give more than zero, e.g. 15s")
    if parsed > most:
        raise UserMistake(f"{text!r} is too long", right)
    return parsed


def keep(text: str) -> timedelta | None:
    """``30d``, or ``forever``: None; raises UserMistake."""
    stripped = text.strip().lower()
    if stripped == "forever":
        return None
    match = _KEEP.fullmatch(stripped)
    if not match or not int(match[1]):
        raise UserMistake(
            f"{text!r} is not a time to keep things for", "give a number and a unit (s, min, h, d), e.g. 30d, or forever"
        )
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}[match[2]])


def listen_address(text: str) -> tuple[str, int]:
    """host:port, [v6]:port or port; raises UserMistake."""
    match = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):)?([0-9]{1,5})", text.strip())
    if not match or not 0 <= int(match[2]) <= 65535:
        raise UserMistake(f"{text!r} is not an address to listen on", "give host:port, e.g. 127.0.0.1:8080")
    return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def proxy_url(text: str) -> str:
    """A proxy's URL; raises UserMistake, which doesn't show it: it may hold a password."""
    try:
        url = URL(text)
        good = url.scheme in ("http", "https") and bool(url.raw_host) and url.port and url.raw_path_qs == "/" and not url.fragment
    except ValueError:
        good = False
    if not good:
        raise UserMistake("this is not the URL of a proxy", "give http://proxy:3128, or http://user:password@proxy:3128")
    return text


def key_set_url(text: str) -> str:
    """Where JWKs are; raises UserMistake."""
    try:
        url = URL(text)
        good = (
            bool(url.host)
            and url.user is None
            and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host or "")))
        )
    except ValueError:
        good = False
    if not good:
        raise UserMistake("this is not the URL of a JWK set", "give https://issuer.example/.well-known/jwks.json")
    return text


def load(**overrides: object) -> Settings:
    """The settings; ``overrides`` by environment name. Raises ConfigError: the setting, its value, what would be right."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        shown = "" if any(word in name for word in ("URL", "SECRET", "PROXY", "TOKEN")) else f" is {first['input']!r}"
        raise ConfigError(f"{name}{shown}", first["msg"].removeprefix("Value error, ")) from None


def require_keyring(settings: Settings) -> Keyring:
    """Raises ConfigError where ROWHOOK_SECRET_KEY is not set."""
    if not settings.secret_key:
        raise ConfigError(
            "ROWHOOK_SECRET_KEY is not set, and secrets are stored encrypted",
            "make a key with rowhook keygen, and set it in the environment or in .env",
        )
    return Keyring.parse(settings.secret_key)


def given(settings: Settings) -> dict[str, object]:
    """The settings by environment name: what ``load`` makes the same settings of in another process."""
    return {str(field.validation_alias): getattr(settings, name) for name, field in Settings.model_fields.items()}


def require_database(settings: Settings) -> Settings:
    """Raises ConfigError where DATABASE_URL is not set."""
    if not settings.database_url:
        raise ConfigError(
            "DATABASE_URL is not set", "set it in the environment or in .env: postgresql://user:password@host:port/database"
        )
    return settings
