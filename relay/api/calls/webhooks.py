"""Webhooks: add, list, read, change, remove."""

from __future__ import annotations

from typing import Any

from relay import endpoints
from relay.api.auth import forbidden
from relay.api.call import Call
from relay.api.models.webhook import AddWebhook, ChangeWebhook, NewWebhook, Webhook, WebhookDetails, WebhookQuery
from relay.api.operation import operation
from relay.api.pages import Page, page, position
from relay.api.problem import Problem, about, of_mistake
from relay.config import duration
from relay.database import Row
from relay.errors import UserMistake
from relay.shapes import STANDARD, TEMPLATE
from relay.sign import Signer, parse_signer
from relay.static_headers import parse_headers
from relay.wishes import check_filter, shape_fields

TAG = "webhooks"
NOT_THERE = "give a public address, https, and its usual port or one from 1024 on"
TEXTS = ("url", "tenant", "description", "retry", "timeout", "filter", "rate")


@operation("POST", "/webhooks", tag=TAG, status=201)
def add_webhook(call: Call, body: AddWebhook) -> NewWebhook:
    """Add a webhook.

    Its secret is in this answer, and in no other. What a tenant adds is that tenant's, and there may be
    ROWHOOK_MAX_ENDPOINTS_PER_TENANT of them.
    """
    given = {name: getattr(body, name) for name in AddWebhook.model_fields if name in body.model_fields_set}
    fields = _fields(call, given)
    _check_owner(call, given)
    tenant = fields["tenant"] = call.principal.tenant or body.tenant
    with about("secret"):
        secret = endpoints.chosen(_signer(body.secret), body.scheme, _default_secret(call))
    headers = _headers(call, body.headers)
    _check_destination(call, fields)
    if call.principal.tenant is not None:
        _keep_to_the_limit(call, call.principal.tenant)
    row = endpoints.add(call.connection, call.actor, call.keyring, {**fields, "tenant": tenant}, secret, headers)
    call.headers["Location"] = f"/webhooks/{row['public_id']}"
    call.etag(row["revision"])
    return NewWebhook(**endpoints.described(row), **endpoints.shown_once(secret))


@operation("GET", "/webhooks", tag=TAG)
def list_webhooks(call: Call, query: WebhookQuery) -> Page[Webhook]:
    """Webhooks, newest first."""
    if query.tenant is not None and not call.principal.sees(query.tenant):
        raise forbidden("this is another tenant", "tenant")
    before, _ = position(query.before, "end")
    tenant = call.principal.tenant or query.tenant
    rows = call.rows("endpoints.page", {"tenant": tenant, "state": query.state, "before": before, "limit": query.limit + 1})
    return page(rows, query, lambda row: Webhook(**endpoints.described(row)), lambda row: str(row["public_id"]))


@operation("GET", "/webhooks/{id}", tag=TAG, refuses=(404,))
def get_webhook(call: Call, id: str) -> WebhookDetails:
    """A webhook, what waits for it, and by what it signs."""
    return _details(call, call.webhook(id))


@operation("PATCH", "/webhooks/{id}", tag=TAG, refuses=(404, 412), in_transaction=False)
def change_webhook(call: Call, id: str, body: ChangeWebhook) -> WebhookDetails:
    """Change, pause or resume a webhook.

    What is left out stays. Relays use what has changed within a second; requests that are out end as they are. With
    `state: active` a disabled one is sent to again, and an open circuit is closed.
    """
    given = {name: getattr(body, name) for name in ChangeWebhook.model_fields if name in body.model_fields_set}
    state, discard = given.pop("state", None), given.pop("discard", False)
    if discard and state != "active":
        raise Problem(422, "invalid", "discard goes with state: active, and with nothing else", field="discard")
    endpoint = call.webhook(id)
    call.check_match(endpoint["revision"])
    fields = _fields(call, given, endpoint["shape"])
    _check_owner(call, given)
    headers = _headers(call, given["headers"]) if "headers" in given else None
    _check_destination(call, fields)
    _prepare(call, endpoint, ordered=bool(fields.get("ordered")), discard=discard)
    with call.transaction():
        given_up = endpoints.give_up(call.connection, endpoint) if discard else {}
        call.check_match(call.webhook(id, lock=True)["revision"])
        if fields or headers is not None:
            endpoints.edit(call.connection, call.actor, id, fields, call.keyring, headers)
        if state == "paused":
            endpoints.pause(call.connection, call.actor, id)
        elif state == "active":
            endpoints.activate(call.connection, call.actor, id, given_up)
        call.notify()
        return _details(call, call.webhook(id))


@operation("DELETE", "/webhooks/{id}", tag=TAG, status=204, refuses=(404,), in_transaction=False)
def remove_webhook(call: Call, id: str) -> None:
    """Remove a webhook: what waits for it is cancelled, its deliveries stay on record."""
    endpoints.remove(call.connection, call.actor, call.webhook(id)["public_id"])


def _prepare(call: Call, endpoint: Row, *, ordered: bool, discard: bool) -> None:
    """What comes before the change and changes nothing by itself, so that locks are short."""
    if ordered:
        endpoints.ordered_ahead(call.connection, endpoint)
    if discard:
        endpoints.let_pass(call.connection)


def _details(call: Call, endpoint: Row) -> WebhookDetails:
    call.etag(endpoint["revision"])
    return WebhookDetails(**endpoints.described(endpoint), **endpoints.details(call.connection, endpoint))


def _fields(call: Call, given: dict[str, Any], present: str = STANDARD) -> Row:
    """Columns that what is given sets; null takes back. ``present``: the shape that it has."""
    texts: dict[str, str | None] = {name: given[name] or "" for name in TEXTS if name in given}
    if "retry" in texts:
        texts["retry_schedule"] = texts.pop("retry")
    if "events" in given:
        texts["events"] = ",".join(given["events"])
    fields = {**endpoints.parse_fields(texts), **_shape(given, present)}
    with about("filter"):
        check_filter(call.connection, fields)
    return {**fields, **{name: given[name] for name in ("max_in_flight", "ordered") if name in given}}


def _shape(given: dict[str, Any], present: str) -> Row:
    """A template is a shape of its own; null takes either back."""
    shape, template = given.get("shape"), given.get("template")
    if shape is None and template is None:
        back = "shape" in given or ("template" in given and present == TEMPLATE)
        return dict(shape_fields(STANDARD, None)) if back else {}
    with about("shape" if template is None else "template"):
        return dict(shape_fields(shape, template))


def _check_owner(call: Call, given: dict[str, Any]) -> None:
    """What is the operator's to say."""
    tenant = call.principal.tenant
    if tenant is None:
        return
    if "tenant" in given and given["tenant"] != tenant:
        raise forbidden("a tenant's webhooks are their own; leave tenant out", "tenant")
    if given.get("max_in_flight") is not None:
        raise forbidden("max_in_flight is the operator's to set; leave it out", "max_in_flight")
    if given.get("template") is not None:
        raise forbidden("a template is the operator's to set; leave it out", "template")
    timeout = given.get("timeout")
    if timeout and duration(timeout) > duration(call.settings.timeout):
        raise forbidden(f"a tenant's webhook may have {call.settings.timeout} at most", "timeout")


def _check_destination(call: Call, fields: Row) -> None:
    """Where to a name leads in here, and what would allow it, is for the operator to know."""
    try:
        endpoints.check_destination(fields, call.settings)
    except UserMistake as mistake:
        told = mistake if call.principal.is_operator else UserMistake("requests may not go there", NOT_THERE)
        raise of_mistake(told, "url") from None


def _keep_to_the_limit(call: Call, tenant: str) -> None:
    """One of the tenant's requests at a time counts and adds."""
    most = call.settings.max_endpoints_per_tenant
    if not most:
        return
    call.rows("endpoints.hold_tenant", {"tenant": tenant})
    (row,) = call.rows("endpoints.count_of_tenant", {"tenant": tenant})
    if row["total"] >= most:
        raise Problem(409, "too-many-webhooks", f"there may be {most} webhooks; remove one first")


def _default_secret(call: Call) -> str:
    """The operator's own: a tenant is not shown what signs for others."""
    return call.settings.default_secret if call.principal.is_operator else ""


def _signer(secret: str | None) -> Signer | None:
    return parse_signer(secret) if secret else None


def _headers(call: Call, given: dict[str, str] | None) -> dict[str, str]:
    with about("headers"):
        return parse_headers([f"{name}: {value}" for name, value in (given or {}).items()], call.settings.header_prefix)
