"""The language of a text by its commonest words: English, German, French, Spanish."""

from agent.models.offline.words import words

_COMMON = {
    "en": "the a an is are was of and to in that it for on with you we i please what how do have this my your from can",
    "de": """der die das und ist sind ein eine einen nicht ich wir sie mit für auf den dem des zu im von bitte wie was
    wann wer kann können haben hallo danke uns mir sich auch noch""",
    "fr": """le la les un une des et est sont je nous vous pour dans avec sur que qui ne pas bonjour merci combien quel
    quelle du au ce cette mon votre notre s'il vous plaît quand""",
    "es": """el la los las un una y es son yo nosotros para en con que de no por favor hola gracias cuánto cuántos qué
    quién cuándo cómo del al mi su nuestro está están puede tengo""",
}
_SETS = {language: frozenset(text.split()) for language, text in _COMMON.items()}
_LETTERS = {"de": "äöüß", "fr": "çêœàùûîâè", "es": "ñ¿¡áíóú"}


def language(text: str) -> str:
    """ISO 639 code of the language of `text`; English when nothing tells."""
    found = words(text)
    scores = {
        code: sum(word in common for word in found)
        + 0.5 * sum(letter in text.casefold() for letter in _LETTERS.get(code, ""))
        for code, common in _SETS.items()
    }
    best = max(scores, key=lambda code: scores[code])
    return best if scores[best] > scores["en"] else "en"
