"""Serves the page of a run, and says where, until it is ended: ``python -m served_page RUN``."""

import sys
from pathlib import Path

from lensweep.scanner.inspection.serving import serve_page

if __name__ == "__main__":
    serve_page(Path(sys.argv[1]), None, lambda text: print(text.splitlines()[0], flush=True))
