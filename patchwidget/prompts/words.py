"""Where words begin and end in a text. Some scripts set spaces between words, and some do not."""

import re

_UNSPACED = [
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x30FF),  # Japanese syllables and marks
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),  # Chinese characters
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
]


def find_words(words: str, text: str) -> list[tuple[int, int]]:
    """Where words stand in a text, (first character, end), and not inside of a longer word."""
    wanted = words.strip()
    found = [match.span() for match in re.finditer(re.escape(wanted), text)] if wanted else []
    return [(start, end) for start, end in found if not _inside_a_word(text, start) and not _inside_a_word(text, end)]


def lacks_a_space(text: str, word: str) -> bool:
    """Whether a word written right behind a text would go on in the middle of another word, or right after a comma and the like."""
    return bool(text and word) and (_is_letter(text[-1]) or text[-1] in ",;:.!?") and _is_letter(word[0])


def _inside_a_word(text: str, place: int) -> bool:
    """Whether the characters before and at a place belong to one word."""
    around = text[place - 1 : place + 1] if place else ""
    return len(around) == 2 and all(re.match(r"\w", character) and not _is_unspaced(character) for character in around)


def _is_letter(character: str) -> bool:
    return character.isalpha() and not _is_unspaced(character)


def _is_unspaced(character: str) -> bool:
    """Whether it belongs to a script without spaces between words."""
    return any(first <= ord(character) <= last for first, last in _UNSPACED)
