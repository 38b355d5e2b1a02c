"""What is known of a message: the schema that a model or a person fills in, and the reader of a trace sees."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Category = Literal["question", "request", "information", "complaint", "scheduling", "smalltalk", "spam", "other"]
Priority = Literal["low", "normal", "high", "urgent"]
Sentiment = Literal["negative", "neutral", "positive"]


class Intent(BaseModel):
    """One thing the sender wants. `start` and `end` are character offsets of the text that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = Field(min_length=1, max_length=500, description="What is wanted, as one imperative sentence.")
    category: Category
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Classification(BaseModel):
    """A message sorted: what kind it is, how it sounds, and the intents in the order they were written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Category
    priority: Priority
    sentiment: Sentiment
    language: str = Field(pattern=r"^[a-z]{2,3}$", description="ISO 639 code, such as en.")
    confidence: float = Field(ge=0, le=1)
    intents: tuple[Intent, ...] = Field(min_length=1, max_length=8)
