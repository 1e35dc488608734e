"""rowhook replay"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from typer import Option

from relay import endpoints, replays
from relay.audit import by_command
from relay.cli.output import Json, as_json, line, note
from relay.cli.session import Connection, at_work
from relay.errors import UserMistake
from relay.replays import Found, Selection
from relay.wanted import ALL, Wanted


def replay_command(
    event: Annotated[str | None, Option(help="The deliveries of this event: evt_…", metavar="ID")] = None,
    delivery: Annotated[str | None, Option(help="This delivery: dlv_…", metavar="ID")] = None,
    endpoint: Annotated[str | None, Option(help="Those of this endpoint: end_…", metavar="ID")] = None,
    since: Annotated[str | None, Option(help="Those made since then: 2h (ago) or an ISO time.", metavar="T")] = None,
    until: Annotated[str | None, Option(help="Only those made until then.", metavar="T")] = None,
    type: Annotated[str | None, Option("--type", help="Only of these event types: expense.*,bill.paid", metavar="P")] = None,
    row_key: Annotated[str | None, Option(help="Only of the row with this key.", metavar="KEY")] = None,
    status: Annotated[str, Option(help=f"Which: {', '.join(replays.REPLAYABLE)}.", metavar="S")] = "dead",
    new_id: Annotated[
        bool, Option("--new-id", help="Under a new webhook-id, for receivers that drop one they have seen.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only count.")] = False,
    json: Json = False,
) -> None:
    """Send dead letters again, or with --status what was delivered or cancelled; all conditions given must hold."""
    if event is delivery is endpoint is since is None:
        raise UserMistake("replay is not told what to send again", "give --event ID, --delivery ID, --endpoint ID or --since T")
    states = replays.parse_status(status)
    with at_work() as (_, connection):
        selection = _selection(connection, states, (event, delivery, endpoint), (since, until))
        wanted = Wanted.of(endpoints.parse_patterns(type)) if type is not None else ALL
        selection = replace(selection, wanted=wanted, row_key=row_key)
        found = replays.look(connection, selection)
        count = found.count if dry_run else replays.replay(connection, by_command(), selection, found, new_id=new_id)
        others = replays.other_states(connection, selection) if not count and (event or delivery) else {}
    _report(count, found, others, dry_run=dry_run, json=json)


def _selection(
    connection: Connection,
    states: list[str],
    ids: tuple[str | None, str | None, str | None],
    times: tuple[str | None, str | None],
) -> Selection:
    event, delivery, endpoint = ids
    event_id, slot = replays.find_event(connection, event) if event is not None else (None, None)
    since, until = (
        replays.moment(connection, text, option) if text is not None else None
        for text, option in zip(times, ("--since", "--until"), strict=True)
    )
    if since and until and since > until:
        raise UserMistake(f"--since {times[0]} is later than --until {times[1]}", "give the earlier time to --since")
    return Selection(
        states,
        event=event_id,
        event_slot=slot,
        delivery=replays.find_delivery(connection, delivery)["id"] if delivery is not None else None,
        endpoint=endpoints.find_present(connection, endpoint)["id"] if endpoint is not None else None,
        since=since,
        until=until,
    )


def _report(count: int, found: Found, others: dict[str, int], *, dry_run: bool, json: bool) -> None:
    if json:
        left_out = {"removed": found.removed, "event_gone": found.event_gone}
        as_json(
            {
                "replayed": 0 if dry_run else count,
                "matching": found.count,
                "dry_run": dry_run,
                "left_out": left_out,
                "waiting": found.waiting,
            }
        )
    else:
        line(f"{'would replay' if dry_run else 'replayed'}: {count}")
    if found.removed:
        note(f"left out, because their endpoints were removed: {found.removed}")
    if found.event_gone:
        note(f"left out, because their events are not kept any more: {found.event_gone}")
    for id, state in found.waiting.items():
        note(f"endpoint {id} is {state}: its deliveries wait until it is resumed (rowhook endpoint resume {id})")
    if others:
        states = ", ".join(f"{state}: {total}" for state, total in sorted(others.items()))
        note(f"there are deliveries in other states ({states}); --status chooses")
