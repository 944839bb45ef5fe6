"""Alerts by mail, over one SMTP server.

``smtps://user:password@host:465`` speaks TLS from the start; ``smtp://...`` has to begin TLS before anything is said,
except with a server on this very machine.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from domain.alerts import AlertMessage
from resources.alerting.channel import TIMEOUT_SECONDS, NotDelivered, PartlyDelivered, done_within

_PORTS = {"smtp": 587, "smtps": 465}
_READY = 220
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class AlertMail:
    """Who is written to, by whom, over which server."""

    server: str = field(repr=False)
    sender: str = field(repr=False)
    recipients: Sequence[str] = field(repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    name: str = "mail"

    def send(self, message: AlertMessage) -> None:
        """Hand one mail to the server; it has arrived when the server took it for every recipient."""
        smtp = self._smtp()
        try:
            with done_within(2 * self.timeout_seconds, lambda: smtp.sock), closing(smtp):
                self._connect(smtp)
                refused = smtp.send_message(self._mail(message))
                with suppress(OSError, smtplib.SMTPException):
                    smtp.quit()
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"SMTP {error.smtp_code}") from None
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise NotDelivered(type(error).__name__) from None
        if refused:
            raise PartlyDelivered(f"SMTP {next(iter(refused.values()))[0]}")

    def _mail(self, message: AlertMessage) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Date"] = formatdate()
        # The same for every try: mail programs show one mail of it.
        mail["Message-ID"] = f"<{message.message_id}@{self.sender.rpartition('@')[2] or 'localhost'}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["Importance"] = "high" if message.as_json()["urgent"] else "normal"
        mail.set_content(f"{message.text}\n\n{message.runbook}\n")
        return mail

    def _smtp(self) -> smtplib.SMTP:
        if urlsplit(self.server).scheme == "smtps":
            return smtplib.SMTP_SSL(timeout=self.timeout_seconds, context=ssl.create_default_context())
        return smtplib.SMTP(timeout=self.timeout_seconds)

    def _connect(self, smtp: smtplib.SMTP) -> None:
        address = urlsplit(self.server)
        host, port = address.hostname or "", address.port or _PORTS[address.scheme]
        # Whose certificate is asked for. The constructor would say it, and connect before its socket can be cut.
        smtp._host = host  # type: ignore[attr-defined]
        code, _ = smtp.connect(host, port)
        if code != _READY:
            raise smtplib.SMTPConnectError(code, b"")
        if address.scheme == "smtp" and host not in _THIS_MACHINE:
            smtp.starttls(context=ssl.create_default_context())
        if address.username:
            smtp.login(unquote(address.username), unquote(address.password or ""))
