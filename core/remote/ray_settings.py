"""What can be set for a Ray cluster: the table [ray] of config.toml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[float, Field(ge=0)]


class Needs(BaseModel):
    """What one worker takes of its node; Ray places it where that is free."""

    model_config = ConfigDict(extra="forbid")
    num_gpus: Amount | None = Field(
        None, description="Fractions share a card: 0.5. None: 1 where the cluster has any card, else 0."
    )
    num_cpus: Amount = Field(1, description="Processors, for Ray's bookkeeping.")
    memory_gb: Amount = Field(0, description="Of the node's memory, for Ray's bookkeeping.")
    resources: dict[str, Amount] = Field({}, description='Your own, as told to ray start: {"big": 1}.')


class RaySettings(Needs):
    """With pool = "ray", workers run on the nodes of a cluster, as many as their queues want."""

    address: str = Field(
        "local",
        description="local: one of our own; auto: the one that this machine is in; HOST:PORT of its head.",
    )
    max_workers: int = Field(8, ge=1, le=1000, description="At once, of all plugins.")
    idle_seconds: Amount = Field(300, description="After so long without a job a worker ends.")
    models: str = Field("", description="The folder of models on each node, a share for example; empty: as here.")
    cache: str = Field("~/.cache/stable-core", description="On the nodes, for code, environments and inputs.")
    plugins: dict[str, Needs] = Field({}, description="What workers of single plugins take instead, by plugin.")

    def needs(self, plugin: str) -> Needs:
        return self.plugins.get(plugin, self)
