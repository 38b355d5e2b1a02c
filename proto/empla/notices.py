"""What a sender is told when nobody wrote a reply. The Sender lets these words leave unseen, and no others."""

FAILURE = "I could not finish this on my own. A person has been asked to look at it and will get back to you."
