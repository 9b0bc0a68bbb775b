"""A nanny that this is preloaded into forks its workers off one process that has imported all.

Those that are killed are back in no time.
"""

from multiprocessing import forkserver

import dask

dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
forkserver.set_forkserver_preload(
    ["distributed", "lensweep.scanner.work.tasks", "lensweep.deploy.tensorflow_imported"]
)
forkserver.ensure_running()
