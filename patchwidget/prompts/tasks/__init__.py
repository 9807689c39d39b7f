"""Tasks of the literature as sets of prompt pairs: seeded, and checked on the model at hand for single-token answers and equal length.

Each gives a `PromptSet` whose pairs differ by the literature's own minimal corruption, with the tokens that matter named as roles.
"""

from .agreement import subject_verb_agreement
from .docstring import docstring
from .facts import factual_recall
from .gender import gendered_pronouns
from .greater_than import greater_than
from .induction import induction
from .ioi import ioi

__all__ = ["docstring", "factual_recall", "gendered_pronouns", "greater_than", "induction", "ioi", "subject_verb_agreement"]
