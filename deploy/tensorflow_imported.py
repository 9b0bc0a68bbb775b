"""Import TensorFlow, by importing this: what a server does from which processes are forked off.

It is imported and not used, not even to look for GPUs: what runs in a process is lost in its forks.
"""

from lensweep.deploy.accelerator import import_tensorflow

import_tensorflow(bare=True)
