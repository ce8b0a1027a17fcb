"""What can be done with a result: the jobs that take it, as it is or through a converter, and why the others do not."""

from core.api import Handler
from core.errors import TypeMismatch
from core.jobs import Row, Store
from core.library.catalogue import Catalogue, JobType
from core.library.converting import THERE, converter
from core.library.fair import fairly
from core.library.review import owned
from core.types import fits


class Accepting:
    def __init__(self, store: Store, catalogue: Catalogue):
        self._store, self._catalogue = store, catalogue
        self.handlers: list[Handler] = [self.accepts]

    def accepts(self, owner: str, id: str) -> Row:
        """Which jobs take a result or an upload, at which inputs, as it is or through a converter that the server puts
        in between; and why the others do not. `needs` are the other inputs that have to be given then."""
        kind = owned(self._store, id, owner)["kind"]
        jobs: list[Row] = []
        others: list[Row] = []
        for job in fairly(self._catalogue.jobs.values()):
            if not job.plugin.offered_to(owner):
                continue
            taking, reasons = self._inputs(job, kind, owner)
            if job.plugin.status not in THERE:
                why = f": {job.plugin.error}" if job.plugin.error else "."
                others.append({"job": job.name, "reason": f"{job.plugin.name} is {job.plugin.status}{why}"})
            elif taking:
                jobs.append({"job": job.name, "light": job.about["light"], "inputs": taking})
            else:
                others.append({"job": job.name, "reason": " ".join(reasons) or "It takes no input."})
        return {"kind": kind, "jobs": jobs, "others": others}

    def _inputs(self, job: JobType, given: str, owner: str) -> tuple[Row, list[str]]:
        """The inputs that take it, and why the others do not."""
        ports, taking, reasons = job.about["inputs"], {}, []
        for name, port in ports.items():
            needs = [other for other in ports if other != name and not ports[other]["optional"]]
            if fits(given, port["kind"]):
                taking[name] = {**port, "needs": needs}
                continue
            try:
                by = converter(self._catalogue, given, port["kind"], job, owner).name
                taking[name] = {**port, "needs": needs, "converter": by}
            except TypeMismatch as error:
                reasons.append(f"{name} takes {port['kind']}. {error}")
        return taking, reasons
