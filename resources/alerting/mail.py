"""Alerts by mail, over one SMTP server.

``smtps://user:password@host:465`` speaks TLS from the start; ``smtp://...`` has to begin TLS before anything is said,
except with a server on this very machine.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from domain.alerts import AlertMessage
from resources.alerting.channel import TIMEOUT_SECONDS, NotDelivered

_PORTS = {"smtp": 587, "smtps": 465}
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
        try:
            with self._connected() as smtp:
                refused = smtp.send_message(self._mail(message))
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"SMTP {error.smtp_code}") from None
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise NotDelivered(type(error).__name__) from None
        if refused:
            raise NotDelivered(f"SMTP {next(iter(refused.values()))[0]}")

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

    def _connected(self) -> smtplib.SMTP:
        address = urlsplit(self.server)
        host, port = address.hostname or "", address.port or _PORTS[address.scheme]
        safely = ssl.create_default_context()
        smtp: smtplib.SMTP
        if address.scheme == "smtps":
            smtp = smtplib.SMTP_SSL(host, port, timeout=self.timeout_seconds, context=safely)
        else:
            smtp = smtplib.SMTP(host, port, timeout=self.timeout_seconds)
        try:
            if address.scheme == "smtp" and host not in _THIS_MACHINE:
                smtp.starttls(context=safely)
            if address.username:
                smtp.login(unquote(address.username), unquote(address.password or ""))
        except BaseException:
            with suppress(OSError, smtplib.SMTPException):
                smtp.close()
            raise
        return smtp
