"""Texts as a menu and a heading can have them."""

import re


def one_line(text: str) -> str:
    """A text of several lines as a menu and a heading can have it."""
    return re.sub(r"\r\n|[\n\r\u2028\u2029]", "⏎", text)
