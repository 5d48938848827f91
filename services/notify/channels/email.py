"""E-mail over SMTP (RFC 5321), with the words of both languages in each message (RFC 2046).

Encrypted, or to this machine alone: `smtps://` is TLS from the first byte (RFC 8314), `smtp://` begins with
STARTTLS. A 4xx answer, as greylisting gives it, is tried again later; a 5xx is final.
"""

import asyncio
import html
import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib

from services.kit.settings import LOOPBACK, Settings
from services.notify.channels.attempt import DELIVERED, Errand, Outcome, Result

DEADLINE_S = 15.0
CONNECTIONS = 8
"""At once."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")
_LANGUAGES = {"zh": "zh-Hans", "en": "en"}


def checked_address(address: str) -> str:
    """The address, its domain in small letters.

    Raises:
        ValueError: it is not one address of the plain form `name@example.org`.
    """
    found = address.strip()
    if len(found) > 254 or not _ADDRESS.fullmatch(found):
        raise ValueError("an e-mail address looks like name@example.org")
    local, _, domain = found.rpartition("@")
    return f"{local}@{domain.lower()}"


class Mailer:
    """The mail server of the settings.

    Raises:
        ValueError: the setting asks for an unencrypted connection to another machine, or is no address.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.smtp_url is not None
        parts = urlsplit(settings.smtp_url.get_secret_value())
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("HUIMIN_SMTP_URL is smtp://user:password@host:587 or smtps://…:465")
        self._host = parts.hostname
        self._implicit = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._implicit else 587)
        self._start_tls = not self._implicit and self._host not in LOOPBACK
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = checked_address(settings.mail_from)
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def send(self, errand: Errand) -> Result:
        """One attempt."""
        message = _message(errand, self._sender)
        try:
            async with self._free:
                await aiosmtplib.send(
                    message,
                    hostname=self._host,
                    port=self._port,
                    use_tls=self._implicit,
                    start_tls=self._start_tls,
                    username=self._user,
                    password=self._password,
                    timeout=DEADLINE_S,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _refused(error.recipients[0].code)
        except aiosmtplib.SMTPAuthenticationError:
            return Result(Outcome.AGAIN, "the mail server does not take our password")
        except aiosmtplib.SMTPResponseException as error:
            return _refused(error.code)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Result(Outcome.AGAIN, f"the mail server does not answer: {type(error).__name__}")
        return DELIVERED


def _refused(code: int) -> Result:
    outcome = Outcome.DEAD if 500 <= code < 600 else Outcome.AGAIN
    return Result(outcome, f"the mail server answered {code}")


def _message(errand: Errand, sender: str) -> EmailMessage:
    """What is sent; the same at each attempt, so that a server that has it knows it again by Message-ID."""
    languages = sorted(errand.words, key=lambda language: language != errand.language)
    local, _, domain = errand.target["address"].rpartition("@")
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Huimin 惠民 <{sender}>"
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = " / ".join(_one_line(errand.words[language][0]) for language in languages)
    message["Date"] = format_datetime(errand.raised_at)
    message["Message-ID"] = f"<{errand.told}.{errand.destination}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's answering machine answers
    message["Content-Language"] = ", ".join(_LANGUAGES[language] for language in languages)
    message.set_content("\n\n".join("\n\n".join(errand.words[language]) for language in languages) + "\n")
    parts = "<hr>".join(_part(language, *errand.words[language]) for language in languages)
    message.add_alternative(f"<!doctype html><meta charset=utf-8>{parts}", subtype="html")
    return message


def _part(language: str, title: str, body: str) -> str:
    lines = "<br>".join(html.escape(line) for line in body.splitlines())
    return f'<div lang="{_LANGUAGES[language]}"><h1>{html.escape(title)}</h1><p>{lines}</p></div>'


def _one_line(text: str) -> str:
    """A header is one line: what would begin another header is a space."""
    return " ".join(text.split())[:200]
