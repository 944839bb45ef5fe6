"""Where the webhook listens."""

from __future__ import annotations

from dataclasses import dataclass

PATH = "/api/v1/webhooks/payments"
HEALTH_PATH = "/health"
PORT_SETTING = "BULK_ORDERS_WEBHOOK_PORT"


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port; port 0 means any free one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"http://{self.host}:{self.port}{PATH}"
