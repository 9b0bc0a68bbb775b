"""A file on storage that takes its time; by leases of Linux, for whoever owns the file."""

import fcntl
import signal
import threading
import time


class SlowStorage:
    """Whoever opens a file waits: this process has a lease on it, and gives it up late."""

    def __init__(self, path, delay_s):
        self._path, self._delay_s = path, delay_s
        self._over, self._thread = threading.Event(), threading.Thread(target=self._serve)
        self.opened = 0
        # With which the kernel asks for the lease back.
        self._before = signal.signal(signal.SIGIO, signal.SIG_IGN)

    def begin(self):
        self._thread.start()

    def end(self):
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGIO, self._before)

    def _serve(self):
        while not self._over.wait(0.01):
            with self._path.open("rb") as file:
                try:
                    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                except BlockingIOError:  # somebody has it open
                    continue
                while fcntl.fcntl(file, fcntl.F_GETLEASE) == fcntl.F_WRLCK:
                    if self._over.wait(0.01):
                        return
                time.sleep(self._delay_s)
                self.opened += 1
