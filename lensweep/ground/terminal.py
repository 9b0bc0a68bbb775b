"""What is printed on a terminal."""

from rich.console import Console


def wide_console() -> Console:
    """A console that no table of ours is cut off on."""
    # Without markup: names of lenses and folders may hold brackets.
    return Console(soft_wrap=True, width=max(160, Console().width), markup=False)
