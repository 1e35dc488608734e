"""rowhook endpoint add, edit: the same options"""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from relay import endpoints, replays
from relay.audit import by_command
from relay.cli.endpoint import EndpointId
from relay.cli.header_options import HeaderFile, HeaderFrom, given_headers
from relay.cli.identity_options import CaFile, ClientCert, ClientKey, given_identity
from relay.cli.output import Json, as_fields, as_json
from relay.cli.secret_options import Scheme, SecretFile, SecretFrom, given_secret, secret_fields, secret_json
from relay.cli.session import at_work, at_work_with_keys
from relay.errors import UserMistake
from relay.static_headers import parse_headers
from relay.wishes import read_template, shape_fields

Events = Annotated[str | None, Option(help="Patterns: *, expense.*, bill.paid; with commas between.", metavar="PATTERNS")]
Tenant = Annotated[str | None, Option(help="Only this tenant's events.", metavar="T")]
Description = Annotated[str | None, Option(help="A note for people.", metavar="TEXT")]
Retry = Annotated[str | None, Option(help="Waits before each retry: 2s,4s,8s, patient or none.", metavar="WAITS")]
Timeout = Annotated[str | None, Option(help="Total time of one attempt, e.g. 15s.", metavar="TIME")]
MaxInFlight = Annotated[str | None, Option(help="Most requests at once from one relay.", metavar="N")]
Filter = Annotated[
    str | None, Option("--filter", help="Only events for which this SQL/JSON path is true: $.data.amount > 1000.", metavar="PATH")
]
Shape = Annotated[
    str | None,
    Option(help="The body: standard, thin, cloudevents, cloudevents-binary or legacy.", metavar="NAME"),
]
Template = Annotated[
    str | None, Option(help="Make the body by this template; slack, discord and teams are there.", metavar="FILE")
]
Rate = Annotated[str | None, Option(help="Most requests in a time, over all relays: 10/s, 100/min.", metavar="N/TIME")]
Ordered = Annotated[
    bool | None,
    Option("--ordered/--unordered", help="Of one row, send an event only when those before it have ended; or in any order."),
]


def add_command(
    url: Annotated[str, Argument(metavar="URL", help="Where to POST.")],
    events: Events = None,
    tenant: Tenant = None,
    description: Description = None,
    secret_file: SecretFile = None,
    secret: SecretFrom = None,
    scheme: Scheme = None,
    header: HeaderFrom = None,
    header_file: HeaderFile = None,
    ca_file: CaFile = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    retry: Retry = None,
    timeout: Timeout = None,
    max_in_flight: MaxInFlight = None,
    ordered: Ordered = None,
    filter: Filter = None,
    shape: Shape = None,
    template: Template = None,
    rate: Rate = None,
    since: Annotated[
        str | None, Option(help="Begin with what happened since then and is kept: 7d (ago), or an ISO time.", metavar="T")
    ] = None,
    json: Json = False,
) -> None:
    """Add an endpoint; prints its id and, this once, its secret."""
    fields = endpoints.parse_fields(
        {
            "url": url,
            "events": events,
            "tenant": tenant,
            "description": description,
            "retry_schedule": retry,
            "timeout": timeout,
            "max_in_flight": max_in_flight,
            "filter": filter,
            "rate": rate,
        }
    )
    fields |= shape_fields(shape, read_template(template))
    if ordered is not None:
        fields["ordered"] = ordered
    wanted = scheme and endpoints.parse_scheme(scheme)
    given = given_secret(secret_file, secret)
    lines = given_headers(header_file, header, secret)
    identity = given_identity(ca_file, client_cert, client_key)
    with at_work_with_keys() as (settings, connection, keyring):
        endpoints.check_destination(fields, settings)
        key = endpoints.chosen(given, wanted, settings.default_secret)
        headers = parse_headers(lines or [], settings.header_prefix)
        start = None if since is None else replays.moment(connection, since, "--since")
        actor = by_command()
        row = endpoints.add(connection, actor, keyring, fields, key, headers, identity, has_past=start is not None)
        past = {} if start is None else {"past": endpoints.give_past(connection, actor, row, start)}
        described = {**endpoints.described(endpoints.find(connection, row["public_id"])), **past}
    if json:
        as_json({**described, **secret_json(key)})
    else:
        as_fields({**described, **secret_fields(key)})


def edit_command(
    endpoint: EndpointId,
    url: Annotated[str | None, Option("--url", help="Where to POST.", metavar="URL")] = None,
    events: Events = None,
    tenant: Tenant = None,
    description: Description = None,
    retry: Retry = None,
    timeout: Timeout = None,
    max_in_flight: MaxInFlight = None,
    ordered: Ordered = None,
    filter: Filter = None,
    shape: Shape = None,
    template: Template = None,
    rate: Rate = None,
    header: HeaderFrom = None,
    header_file: HeaderFile = None,
    ca_file: CaFile = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    json: Json = False,
) -> None:
    """Change an endpoint. What is not given stays; an empty option ('') takes it back; headers replace all that it had.

    Secrets change with rotate.
    """
    fields = endpoints.parse_fields(
        {
            "url": url,
            "events": events,
            "tenant": tenant,
            "description": description,
            "retry_schedule": retry,
            "timeout": timeout,
            "max_in_flight": max_in_flight,
            "filter": filter,
            "rate": rate,
        }
    )
    fields |= shape_fields(shape, read_template(template))
    if ordered is not None:
        fields["ordered"] = ordered
    lines = given_headers(header_file, header, None)
    identity = given_identity(ca_file, client_cert, client_key)
    if not fields and lines is None and not identity:
        raise UserMistake(
            "nothing to change is given",
            "give some of --url, --events, --tenant, --description, --retry, --timeout, --max-in-flight, --ordered, --filter,"
            " --shape, --template, --rate, --header, --ca-file, --client-cert",
        )
    if lines is None and not identity.needs_key:
        with at_work() as (settings, connection):
            endpoints.check_destination(fields, settings)
            described = endpoints.described(endpoints.edit(connection, by_command(), endpoint, fields, identity=identity))
    else:
        with at_work_with_keys() as (settings, connection, keyring):
            endpoints.check_destination(fields, settings)
            headers = None if lines is None else parse_headers(lines, settings.header_prefix)
            described = endpoints.described(
                endpoints.edit(connection, by_command(), endpoint, fields, keyring, headers, identity)
            )
    as_json(described) if json else as_fields(described)
