"""Receivers that fail: the fixtures are those of the channels."""

from tests.notify.channels.conftest import at_once, house, mailbox, outgoing, receiver

__all__ = ["at_once", "house", "mailbox", "outgoing", "receiver"]
