"""How much memory this process has taken."""

import resource
import sys


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
