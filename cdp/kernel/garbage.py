"""When Python looks for garbage that no longer is referred to but by itself."""

import gc
from typing import Final

NEW_OBJECTS_A_COLLECTION: Final = 10_000


def settle() -> None:
    """Of a process that is set up and begins to work: what was made until now stays, and no later collection looks through
    it while somebody waits. What is new is looked through seldom, for a batch of events is many objects at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_A_COLLECTION)
