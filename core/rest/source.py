"""Keeps foreign web pages out: a check of Host (DNS rebinding) and Origin, port included, in front of everything."""

import ipaddress
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from core.errors import Forbidden, InvalidParams


class SameSource:
    """WSGI middleware. A request whose Host is a foreign DNS name or whose Origin is another page is refused."""

    def __init__(self, app: Callable):
        self._app, self._names = app, {"localhost", socket.gethostname().lower()}

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        try:
            self._check(environ)
        except (Forbidden, InvalidParams) as error:
            body = json.dumps({"ok": False, "error": error.wire()}).encode()
            status = "403 Forbidden" if isinstance(error, Forbidden) else "400 Bad Request"
            start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return self._app(environ, start_response)

    def _check(self, environ: dict[str, Any]) -> None:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            known = name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:
            known = False
        if not known:
            raise Forbidden(f"the Host {host[:100]!r} is not this server. Use its IP address or localhost.")
        if origin is not None and origin != f"{environ['wsgi.url_scheme']}://{host}":
            raise Forbidden(f"pages of {origin[:100]} may not use this server.")
        upgrade, version = environ.get("HTTP_UPGRADE", ""), environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        if upgrade.lower() == "websocket" and version != "13":
            raise InvalidParams("WebSockets of before RFC 6455 (version 13) are not spoken here.")
