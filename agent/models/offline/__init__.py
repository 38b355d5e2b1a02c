"""The rule-based model that ships with empla and needs no key."""

from agent.models.offline.model import OfflineModel

__all__ = ["OfflineModel"]
