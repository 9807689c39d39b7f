"""A prompt as its tokens, to be looked at: which text stands at which position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload


@dataclass(frozen=True, repr=False)
class Tokens(Sequence[str]):
    """The tokens of a prompt. `tokens[3]` is the text of the fourth, `list(tokens)` has all texts (`to_str_tokens` of TransformerLens).

    Attributes:
        texts: each token as text, with its leading space.
        ids: each token's number in the vocabulary.
    """

    texts: tuple[str, ...]
    ids: tuple[int, ...]

    def positions(self, text: str) -> list[int]:
        """Where a token with this text stands, counted from 0; a space before it is of no account."""
        return [position for position, token in enumerate(self.texts) if text in (token, token.strip())]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: Any) -> Any:
        return self.texts[index]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        rows = [(str(position), repr(text), str(i)) for position, (text, i) in enumerate(zip(self.texts, self.ids, strict=True))]
        table = [("position", "token", "id"), *rows]
        a, b, c = (max(len(row[column]) for row in table) for column in range(3))
        return "\n".join(f"{position:>{a}}  {text:<{b}}  {i:>{c}}" for position, text, i in table)
