"""What processes that tests start do at first: they leave out two libraries that users do not have.

Tests brought them (webuiapi, ipykernel), and Socket.IO imports both wherever it finds them: 0.2 s in each server,
worker and command."""

import sys

sys.modules["aiohttp"] = sys.modules["tornado"] = None
