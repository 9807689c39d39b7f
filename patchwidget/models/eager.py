"""Running a network as it is written while its forwards are watched or edited, although the user has had it compiled.

Under torch.compile every hook that comes or goes has the whole network compiled anew.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_lock = Lock()
_wanted = 0
_stance = ExitStack()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside, and in other threads meanwhile, what has been compiled runs as it is written. Contexts may overlap in any order."""
    global _wanted  # noqa: PLW0603 - torch's own setting is one for the whole process
    with _lock:
        _wanted += 1
        if _wanted == 1:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            _wanted -= 1
            if not _wanted:
                _stance.close()
