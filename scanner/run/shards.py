"""What is worked on in shards: so many windows, so many of them to a task and to a file."""

from abc import ABC, abstractmethod

from lensweep.scanner.sky.windows import shard_bounds


class Sharded(ABC):
    """Windows in shards.

    Attributes
    ----------
    n_windows, windows_per_shard : int
    """

    n_windows: int
    windows_per_shard: int

    @property
    @abstractmethod
    def name(self) -> str:
        """What its stores and its rows are called."""

    @property
    def shards(self) -> list[tuple[int, int]]:
        """First window and end of every shard."""
        return shard_bounds(self.n_windows, self.windows_per_shard)

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_windows // self.windows_per_shard)

    def bounds(self, shard: int) -> tuple[int, int]:
        """First window and end of one shard."""
        start = shard * self.windows_per_shard
        return start, min(start + self.windows_per_shard, self.n_windows)
