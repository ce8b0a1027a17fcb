"""What can be set for a Ray cluster: the table [ray] of config.toml."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Amount = Annotated[float, Field(ge=0)]


def _whole_or_less(cards: float) -> float:
    if cards > 1 and cards % 1:
        raise ValueError("of several cards whole ones are taken: 0.5, 1, 2 ...")
    return cards


Cards = Annotated[float, Field(ge=0), AfterValidator(_whole_or_less)]


class Needs(BaseModel):
    """What one worker takes of its node; Ray places it where that is free. Without a value: as those of all plugins."""

    model_config = ConfigDict(extra="forbid")
    num_gpus: Cards | None = Field(None, description="Cards; fractions share one.")
    num_cpus: Amount | None = Field(None, description="Processors; it may use more.")
    memory_gb: Amount | None = Field(None, description="Of the node's memory; it may use more.")
    resources: dict[str, Amount] | None = Field(None, description='Your own, as told to ray start: {"big": 1}.')


class RaySettings(BaseModel):
    """With pool = "ray", workers run on the nodes of a cluster, as many as their queues want."""

    model_config = ConfigDict(extra="forbid")
    address: str = Field(
        "local",
        description="local: one of our own; auto: the one that this machine is in; HOST:PORT of its head.",
    )
    max_workers: int = Field(8, ge=1, le=1000, description="At once, of all plugins.")
    idle_seconds: Amount = Field(300, description="After so long without a job a worker ends.")
    models: str = Field("", description="The folder of models on each node, a share for example; empty: as here.")
    cache: str = Field("~/.cache/stable-core", description="On the nodes, for code, environments and inputs.")
    num_gpus: Cards | None = Field(
        None, description="Of each worker; 0.5 lets two share a card. None: 1 where the cluster has any, else 0."
    )
    num_cpus: Amount = Field(1, description="Of each worker, for Ray's bookkeeping: it may use more.")
    memory_gb: Amount = Field(0, description="The same.")
    resources: dict[str, Amount] = Field({}, description='Your own, as told to ray start: {"big": 1}.')
    plugins: dict[str, Needs] = Field({}, description='What workers of one take instead: {"upscale": {"num_gpus": 0}}.')

    def needs(self, plugin: str) -> Needs:
        """With the values that hold for it; only num_gpus may have none."""
        own = self.plugins.get(plugin, Needs())
        given = {name: getattr(own, name) for name in Needs.model_fields}
        return Needs(**{name: getattr(self, name) if value is None else value for name, value in given.items()})
