"""What a sender is told in words that nobody wrote for them. The Sender lets these leave unseen, and no others."""

FAILURE = "I could not finish this on my own. A person has been asked to look at it and will get back to you."
TAKES_LONGER = (
    "This takes longer. I go on with it in the background, tell you now and then, and send you what comes of it."
)
STILL_AT_IT = "I am still working on this."
CANCELLED = "I have stopped working on this, as I was told to. There is no result."

UNSEEN = frozenset({FAILURE, TAKES_LONGER, STILL_AT_IT, CANCELLED})
