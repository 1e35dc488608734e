"""The catalog of event types."""

from __future__ import annotations

from relay import catalog
from relay.api.call import Call
from relay.api.models.events import EventType, EventTypes, SchemaChange, SchemaVersion
from relay.api.operation import operation


@operation("GET", "/event-types", tag="events")
def list_event_types(call: Call) -> EventTypes:
    """Which event types there are, what they hold, and an example of each.

    Those that captures make, and Rowhook's own; a tenant sees those of tables whose rows have a tenant. Types that are emitted by
    hand are not listed.
    """
    known = catalog.event_types(call.connection)
    shown = [one for one in known if call.principal.is_operator or one.has_tenant]
    return EventTypes(items=[_told(one, to_operator=call.principal.is_operator) for one in shown])


def _told(one: catalog.EventType, *, to_operator: bool) -> EventType:
    return EventType(
        name=one.name,
        description=one.description,
        table=one.table,
        body_schema=one.schema,
        example=one.example(),
        versions=[
            SchemaVersion(
                version=version.number,
                since=version.since,
                compatible=version.compatible,
                changes=[SchemaChange(**change) for change in version.changes],
            )
            for version in one.versions
        ],
        set_aside=one.set_aside if to_operator else None,
    )
