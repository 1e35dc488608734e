"""Who asks: the operator, by a token, or a tenant, by a JWT."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """``tenant`` limits everything to what is that tenant's; None: the operator, who sees and may do all."""

    name: str
    tenant: str | None = None

    @property
    def is_operator(self) -> bool:
        return self.tenant is None

    @property
    def key(self) -> str:
        """Tells principals apart: a tenant may be called as a token is."""
        return f"operator {self.name}" if self.tenant is None else f"tenant {self.tenant}"

    def sees(self, tenant: str | None) -> bool:
        """Whether what belongs to this tenant (None: to the operator) is there for who asks."""
        return self.tenant is None or self.tenant == tenant


def of_tenant(tenant: str) -> Principal:
    return Principal(f"tenant {tenant}", tenant)


# On the loopback, where neither tokens nor JWTs are set up.
LOOPBACK = Principal("loopback")
