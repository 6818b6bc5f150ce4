"""How long a child process takes before its job begins: it starts and imports."""

import statistics
import time

from zkpot.proof import child
from zkpot.proof.system import Progress
from zkpot_agent import thermal_job


async def child_start_seconds(repeats: int = 5) -> float:
    """The median over children with nothing to do, which import what training does."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        await child.run(nothing, limits=child.Limits(cores=1))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def nothing(progress: Progress) -> None:
    """The job."""
    progress(thermal_job.__name__, 1.0)
