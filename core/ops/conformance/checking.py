"""All claims about one plugin, in their order."""

from collections.abc import Callable
from pathlib import Path

from clients import python as client
from core.ops import discovery, environments
from core.ops.config import Config
from core.ops.conformance import manifest, private
from core.ops.conformance.claims import Kit
from core.ops.conformance.report import Report


def check(folder: Path, config: Config, say: Callable[[str], None], quick: bool = False) -> Report:
    """Test the plugin in `folder`, in its environment, which is made if need be. `say` gets one line for each claim.

    Raises InvalidParams, InstallError, or PluginError if there is nothing to test."""
    folder, report = folder.resolve(), Report(say)
    name, test = manifest.read(folder)
    build = discovery.may_build(folder, config)
    python = environments.ensure(folder, config.environments, say, config.torch_backend, build)
    with private.server(folder, name, config, own_models=not quick) as server:
        kit = Kit(server, folder, name, test, report, quick, config.cancel_grace_seconds)
        try:
            if kit.describes_itself():
                kit.imports_lightly(python)
                kit.try_jobs()
                kit.survives_a_crash()
                kit.ends()
        except client.ServerError as error:
            report.fails("leaves the server alone", str(error))
    return report
