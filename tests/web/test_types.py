"""The types of the page's sources fit. Who only builds the page does not wait for that."""

import pytest

from core.ops import webclient
from tests import node
from tests.serving import ROOT

pytestmark = pytest.mark.browser


def test_the_sources_have_no_type_errors(web):
    packages = max(web.parent.glob("packages-*"), key=lambda folder: folder.stat().st_mtime)
    with webclient.copied(ROOT, packages / "checked") as work:
        node.run([packages / "node_modules/typescript/bin/tsc"], work / webclient.WEB)
