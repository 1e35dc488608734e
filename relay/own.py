"""What is Rowhook's own: the relay's listener and its database. No request goes there, whatever networks are allowed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import psycopg

from relay.address import Address
from relay.config import Settings


@dataclass(frozen=True, slots=True)
class Own:
    """A port and the host that it is on: an address, a name, or empty: any address of this machine."""

    what: str
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """None for a name, or for any."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_name(self) -> bool:
        return bool(self.host) and self.address is None


def own_places(settings: Settings, *, listens: bool) -> tuple[Own, ...]:
    """From the settings; ``listens``: this relay serves its API."""
    places = [*_databases(settings)]
    if listens:
        host, port = settings.api_address
        places.append(Own("this relay's API (ROWHOOK_API_LISTEN)", "" if host in ("0.0.0.0", "::") else host, port))  # noqa: S104
    return tuple(dict.fromkeys(places))


def is_local(address: Address) -> bool:
    """Whether the address is this machine's: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _databases(settings: Settings) -> Iterator[Own]:
    urls = {
        "DATABASE_URL": settings.database_url,
        "ROWHOOK_ADMIN_URL": settings.admin_url,
        "ROWHOOK_LISTEN_URL": settings.listen_url,
    }
    for name, url in urls.items():
        try:
            given = psycopg.conninfo.conninfo_to_dict(url) if url else {}
        except psycopg.ProgrammingError:  # said where it is connected to
            continue
        if given:
            for host, port in _hosts(given):
                yield Own(f"Rowhook's own database ({name})", host, port)


def _hosts(given: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """libpq's lists: hosts and ports go together, one port stands for all; a socket's folder is on this machine."""
    hosts = str(given.get("hostaddr") or given.get("host") or os.environ.get("PGHOST") or "").split(",")
    ports = str(given.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    for number, host in enumerate(hosts):
        port = ports[min(number, len(ports) - 1)]
        local = host.startswith(("/", "@")) or host == "localhost"
        yield ("" if local else host), int(port) if port.isdigit() else 5432
