"""Every call there is, a subject a file; importing this registers them all."""

from relay.api.calls import deliveries, event_types, events, history, replays, samples, secrets, stream, webhooks

__all__ = ["deliveries", "event_types", "events", "history", "replays", "samples", "secrets", "stream", "webhooks"]
