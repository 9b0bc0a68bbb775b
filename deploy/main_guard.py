"""Scripts that start processes: each process imports the script, and must not start more of them.

Python's own error comes from every process that was started, in the middle of its start.
"""

import ast
import sys
import tokenize
from types import FrameType

from lensweep.ground.errors import InputError


class NoGuardError(InputError):
    """A script starts processes wherever it is imported."""


def refuse_without_guard() -> None:
    """Refuse to start processes that would run the user's script again.

    Raises
    ------
    NoGuardError
        If the script that runs calls this outside of ``if __name__ == "__main__":``.
    """
    path = getattr(sys.modules["__main__"], "__file__", None)
    line = _line_of_main(sys._getframe())
    # A notebook and an interpreter have no file: nothing is imported again.
    if path is None or line is None:
        return
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, UnicodeDecodeError):  # a binary, or a zip: not a script
        return
    if not any(guard <= line for guard in _guards(tree)):
        raise NoGuardError(
            f"{path}, line {line}: starts processes, which import this script, outside of a "
            'guard; put what it does under `if __name__ == "__main__":`, or give cluster= the '
            "address of a running Dask scheduler"
        )


def _line_of_main(frame: FrameType | None) -> int | None:
    """The line that the script is at, on the level of its module; None in another thread."""
    main = sys.modules["__main__"].__dict__
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _guards(tree: ast.Module) -> list[int]:
    """Lines of conditions on what this process is, outside of functions."""
    return [
        statement.lineno
        for statement in tree.body
        if isinstance(statement, ast.If)
        and any(
            (isinstance(node, ast.Name) and node.id == "__name__")
            or (isinstance(node, ast.Attribute) and node.attr in ("parent_process", "daemon"))
            for node in ast.walk(statement.test)
        )
    ]
