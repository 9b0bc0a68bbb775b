"""What a scan asks of the nodes that work for it, whoever gives them out."""

from dataclasses import dataclass

from lensweep.ground.settings import setting


@dataclass(frozen=True)
class NodeOptions:
    """How many nodes work for a scan, and what each has."""

    cores: int | None = setting(None, "Of every node that works: one worker process each.")
    memory: str | None = setting(
        None, "Of every node that works, as the cluster writes it: 64G, 64Gi."
    )
    gpus: int = setting(0, "Of every node that works with GPUs.")
    nodes: int = setting(0, "Nodes (or pods) that work for the driver; with 0 it works alone.")
    gpu_nodes: int = setting(0, "Further nodes (or pods), which score on GPUs.")
