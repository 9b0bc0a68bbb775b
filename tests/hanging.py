"""A process that hangs at a shard; a module of its own since such a process imports it all."""

import time
from pathlib import Path

from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.work.attempts import attempt


def hang(root):
    with attempt(RunPaths(Path(root)), "m", 7, "cut", 0.2):
        time.sleep(1000)
