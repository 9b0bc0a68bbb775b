"""Options that `scan` and `score` both have: in the same words, and within the same bounds.

Each takes the heading that it stands under, and what else its field is to say of itself.
"""

from typing import Any, Protocol

from lensweep.ground.settings import one_of, setting, within

INPUT, CLUSTER, OUTPUT = "Input", "Cluster", "Output"
# Ten are what Collett (2015) expects of such images, and about what COSMOS showed (Faure et al.
# 2008). Among sources or listed positions: the same, if every source of a field were looked at.
DEFAULT_LENS_DENSITY = 10.0


def ensemble(group: str, **facts: Any) -> Any:
    return setting(
        "xception-7fold", "A shipped ensemble, or a bundle's folder.", group=group, **facts
    )


def lens_density(group: str, **facts: Any) -> Any:
    return setting(
        DEFAULT_LENS_DENSITY, "Visible lenses per square degree, for p_lens.", group=group, **facts
    )


def precision(group: str) -> Any:
    return setting(
        "auto", "auto: what a worker is faster in, where the ensemble was shown to keep its ranks; "
        "full: float32.", group=group,
    )  # fmt: skip


def band() -> Any:
    return setting(None, "Filter, for headers that do not say.", group=INPUT)


def cluster(**facts: Any) -> Any:
    return setting(
        "local", "local, cuda, slurm, kubernetes, a TOML file, or the address or file of a Dask "
        "scheduler.", group=CLUSTER, **facts,
    )  # fmt: skip


def tls(**facts: Any) -> Any:
    return setting(
        False, "Encrypt what the cluster's processes say to each other.", group=CLUSTER, **facts
    )


def shard_timeout(**facts: Any) -> Any:
    # The default is forty times what 512 windows take on one core.
    return setting(
        1800.0, "Seconds after which a worker that is still at one shard is started again.",
        "--shard-timeout", group=CLUSTER, **facts,
    )  # fmt: skip


def storage_wait(**facts: Any) -> Any:
    return setting(
        600.0, "Seconds to wait for a full disk.", "--storage-wait", group=OUTPUT, **facts
    )


class Shared(Protocol):
    """What both have of these that has bounds."""

    @property
    def lens_density(self) -> float: ...
    @property
    def precision(self) -> str: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def shard_timeout_s(self) -> float: ...
    @property
    def storage_wait_s(self) -> float: ...


def check_shared(config: Shared) -> None:
    """Refuse what is out of bounds.

    Raises
    ------
    InputError
    """
    within("shard_timeout_s", config.shard_timeout_s, 1.0, 1e6)
    within("storage_wait_s", config.storage_wait_s, 0.0, 1e6)
    within("lens_density", config.lens_density, 1e-6, 1e6)
    if config.workers is not None:
        within("workers", config.workers, 1, 4096)
    one_of("precision", config.precision, ("auto", "full"))
