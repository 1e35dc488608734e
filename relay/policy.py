"""Pure: where the operator lets requests go: networks, ports, plain http. A refusal names the setting that would allow it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, ip_network
from itertools import pairwise
from typing import Final, Literal

from relay.address import Address, Network, Verdict, classify, embedded_v4, parse_networks
from relay.errors import DestinationDenied, UserMistake

# The proxy is where the operator sends everything: nothing is judged on the way to it.
Scheme = Literal["http", "https", "proxy"]
Ports = tuple[range, ...]

# What answers there does harm when it is spoken to, whatever HTTP it makes of it. Ports below 1024 are closed but for 80 and 443.
KNOWN_SERVICES: Final = {
    1080: "SOCKS",
    1433: "SQL Server",
    1434: "SQL Server",
    1521: "Oracle",
    1720: "H.323",
    1723: "PPTP",
    1883: "MQTT",
    2049: "NFS",
    2181: "ZooKeeper",
    2375: "Docker",
    2376: "Docker",
    2377: "Docker",
    2379: "etcd",
    2380: "etcd",
    3128: "a proxy",
    3268: "LDAP",
    3269: "LDAP",
    3306: "MySQL",
    3389: "RDP",
    4369: "Erlang",
    5060: "SIP",
    5061: "SIP",
    5432: "Postgres",
    5433: "Postgres",
    5671: "AMQP",
    5672: "AMQP",
    5900: "VNC",
    5984: "CouchDB",
    5985: "WinRM",
    5986: "WinRM",
    6000: "X11",
    6379: "Redis",
    6380: "Redis",
    6432: "PgBouncer",
    6443: "Kubernetes",
    6666: "IRC",
    6667: "IRC",
    6668: "IRC",
    6669: "IRC",
    6697: "IRC",
    7001: "WebLogic",
    7199: "Cassandra",
    7474: "Neo4j",
    7687: "Neo4j",
    8086: "InfluxDB",
    8200: "Vault",
    8300: "Consul",
    8500: "Consul",
    8983: "Solr",
    9042: "Cassandra",
    9092: "Kafka",
    9100: "a printer",
    9160: "Cassandra",
    9200: "Elasticsearch",
    9300: "Elasticsearch",
    9418: "Git",
    10080: "Amanda",
    10250: "Kubernetes",
    10255: "Kubernetes",
    11211: "Memcached",
    15672: "RabbitMQ",
    25672: "RabbitMQ",
    27017: "MongoDB",
    27018: "MongoDB",
    27019: "MongoDB",
    28015: "RethinkDB",
}

_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
# Those whose allowing is an everyday wish. Nobody is advised to open the rest.
_MAY_BE_MEANT: Final = (Verdict.LOOPBACK, Verdict.PRIVATE, Verdict.SHARED)


def parse_ports(text: str) -> Ports:
    """``80,443,8000-8999``; empty: 80, 443 and those from 1024 on that no known service has. Raises UserMistake."""
    if not text.strip():
        return DEFAULT_PORTS
    return tuple(_range(part.strip()) for part in text.split(","))


def _range(text: str) -> range:
    match = _PORTS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise UserMistake(f"{text!r} is neither a port nor a range of ports", "give e.g. 443,8000-8999")
    return range(first, last + 1)


def _default_ports() -> Ports:
    gaps = [1023, *sorted(KNOWN_SERVICES), 65536]
    between = (range(low + 1, high) for low, high in pairwise(gaps))
    return (range(80, 81), range(443, 444), *(ports for ports in between if ports))


DEFAULT_PORTS: Final = _default_ports()


@dataclass(frozen=True, slots=True)
class Policy:
    """``deny`` goes before ``allow``, and ``allow`` before what addresses are by themselves."""

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    ports: Ports = DEFAULT_PORTS
    allow_http: bool = False

    def check(self, host: str, addresses: Sequence[Address], port: int, scheme: Scheme) -> None:
        """All addresses of a host: one that is denied denies the host. Raises DestinationDenied."""
        self._check_addresses(host, addresses)
        if scheme == "http" and not self.allow_http:
            plain = next((address for address in addresses if not _within(address, self.allow)), None)
            if plain is not None:
                raise _plain(host)
        self.check_port(port)

    def check_port(self, port: int) -> None:
        """Raises DestinationDenied."""
        if not any(port in ports for ports in self.ports):
            known = KNOWN_SERVICES.get(port)
            raise DestinationDenied(
                f"port {port} is {f'that of {known}' if known else 'none of those that requests go to'}",
                f"a list in ROWHOOK_ALLOW_PORTS, e.g. 80,443,{port}, would allow it",
            )

    def check_name(self, host: str, port: int, scheme: Scheme, *, judged_later: bool) -> None:
        """What can be said of a name alone; ``judged_later``: its addresses will be, and may turn out to be allowed ones."""
        if scheme == "http" and not self.allow_http and not (judged_later and self.allow):
            raise _plain(host, "or name its network in ROWHOOK_ALLOW_NETWORKS" if judged_later else "")
        self.check_port(port)

    def _check_addresses(self, host: str, addresses: Sequence[Address]) -> None:
        for address in addresses:
            if network := _within(address, self.deny):
                raise DestinationDenied(_is(host, address, f"in {network}"), "ROWHOOK_DENY_NETWORKS holds it")
        verdicts = {address: self._verdict(address) for address in addresses}
        denied = [address for address, verdict in verdicts.items() if verdict is not Verdict.ALLOWED]
        if denied:
            raise DestinationDenied(_is(host, denied[0], verdicts[denied[0]]), self._remedy(denied, list(verdicts.values())))

    def _verdict(self, address: Address) -> Verdict:
        """With the operator's networks. Allowing a translator's prefix does not allow what is private behind it."""
        if not _within(address, self.allow):
            return classify(address)
        inside = embedded_v4(address)
        if any(_within(v4, self.deny) or self._verdict(v4) is not Verdict.ALLOWED for v4 in inside):
            return Verdict.EMBEDDED_V4
        return Verdict.ALLOWED

    def _remedy(self, denied: Sequence[Address], verdicts: Sequence[Verdict]) -> str:
        if not all(verdict in (*_MAY_BE_MEANT, Verdict.ALLOWED) for verdict in verdicts):
            return "give a URL whose host has public addresses only"
        networks = dict.fromkeys([*self.allow, *map(_around, denied)])
        return f"ROWHOOK_ALLOW_NETWORKS={','.join(map(str, networks))} would allow it"


def policy(allow: str = "", deny: str = "", ports: str = "", *, allow_http: bool = False) -> Policy:
    """The policy that these settings make. Raises UserMistake."""
    return Policy(parse_networks(allow), parse_networks(deny), parse_ports(ports), allow_http)


def _within(address: Address, networks: Sequence[Network]) -> Network | None:
    return next((network for network in networks if network.version == address.version and address in network), None)


def _around(address: Address) -> Network:
    """A network worth naming: the loopback, or the subnet that a receiver's address moves within."""
    if classify(address) is Verdict.LOOPBACK:
        return ip_network("::1/128") if isinstance(address, IPv6Address) else IPv4Network("127.0.0.0/8")
    return ip_network((address, 64 if isinstance(address, IPv6Address) else 24), strict=False)


def _is(host: str, address: Address, what: str) -> str:
    return f"{address} is {what}" if host == str(address) else f"{host} is {address}, {what}"


def _plain(host: str, more: str = "") -> DestinationDenied:
    return DestinationDenied(f"{host} would be sent plain http", f"use https, or set ROWHOOK_ALLOW_HTTP=1 {more}")
