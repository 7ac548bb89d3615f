"""Mail through the owner's SMTP server: sign-in links, and what people want to be told of."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub.settings import Mail
from pinthesky.model.people import Email

TIMEOUT_S = 20.0
SUBJECT_MAX = 150
PASSWORD_MAX = 4096


class Mailer:
    """Sends mails, one connection each. Thread-safe."""

    def __init__(self, settings: Mail, *, trusted: ssl.SSLContext | None = None) -> None:
        """`settings` name a server. `trusted`: whose certificates the server may show; the system's unless given."""
        self._settings = settings
        self._trusted = trusted or ssl.create_default_context()
        self._sender = Email.parse(settings.sender or settings.user, "mail.sender")

    def send(self, to: Email, subject: str, text: str, *, picture: bytes | None = None) -> None:
        """Hand one mail over, with a JPEG picture if given. Raises Unavailable: it is not known to have been taken."""
        message = EmailMessage()
        message["From"] = Address("Pi In The Sky", addr_spec=str(self._sender))
        message["To"] = str(to)
        message["Subject"] = " ".join(subject.split())[:SUBJECT_MAX]
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        if picture is not None:
            message.add_attachment(picture, maintype="image", subtype="jpeg", filename="picture.jpg")
        with self._errors(), self._connected() as server:
            server.send_message(message, str(self._sender), [str(to)])

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        if settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=TIMEOUT_S, context=self._trusted
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_S)
        with server:
            if settings.security == "starttls":
                server.starttls(context=self._trusted)
            if settings.user and settings.security != "none":
                server.login(settings.user, _password(settings.password_file))
            yield server

    @contextmanager
    def _errors(self) -> Iterator[None]:
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            yield
        except InvalidInput as error:
            raise Unavailable(str(error)) from error
        except smtplib.SMTPResponseException as error:
            # What the server says may hold the address; the code is enough to find the reason.
            raise Unavailable(f"the mail server {where} refuses (code {error.smtp_code})") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise Unavailable(f"the mail server {where} refuses the address") from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(f"no mail goes through {where}: {error}") from error


def _password(file: str) -> str:
    """The first line of `file`, read each time: it may be changed while the hub runs."""
    if not file:
        return ""
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.readline(PASSWORD_MAX).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("mail.password_file", f"cannot be read: {error}") from error
