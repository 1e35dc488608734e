"""Every call there is, a subject a file; importing this registers them all."""

from relay.api.calls import samples, secrets, webhooks

__all__ = ["samples", "secrets", "webhooks"]
