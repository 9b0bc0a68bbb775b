"""How many cores this process may use: the one place that says so."""

from dask.system import cpu_count


def usable_cores() -> int:
    """Cores that the scheduler, a container's quota and the machine leave to this process.

    Dask knows the ways of each system: affinity where there is any (not on macOS), and the quota of
    a control group, rounded up.
    """
    return cpu_count()
