"""Every SQL statement of notify, by its table; those of messages stand here, too."""

from services.notify.repository.messages import count, head, insert_messages, messages, whom

__all__ = ["count", "head", "insert_messages", "messages", "whom"]
