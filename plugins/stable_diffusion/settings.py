"""What the admin decides once for all jobs: `[plugin_settings.stable_diffusion]` in config.toml. Light at import."""

from core.plugin import Params, param


class Settings(Params):
    cache_bytes: int = param(
        0, ge=0, help="Models stay loaded as long as all together take no more; 0: what suits the device's memory."
    )
    pinned: list[str] = param([], help="Names of models that stay loaded.")
    unload_after_seconds: float = param(
        0, ge=0, help="A model that was not used for so long is unloaded, if it is not pinned; 0: never."
    )
