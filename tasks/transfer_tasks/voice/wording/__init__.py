"""What callers hear and models are told: sentences by language, and the answers that carry them."""

from transfer_tasks.voice.wording.answer import TransferAnswer
from transfer_tasks.voice.wording.phrases import AnyReason, Phrase, SessionReason
from transfer_tasks.voice.wording.wording import Wording

__all__ = ["AnyReason", "Phrase", "SessionReason", "TransferAnswer", "Wording"]
