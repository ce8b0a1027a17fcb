"""Who may talk to the server: a token for people and apps, and a check of Host and Origin against foreign web pages."""

import hmac
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from core.errors import Forbidden, Unauthorized

OWNER = "local"  # whoever holds the token of this machine


def token_file() -> Path:
    return platformdirs.user_config_path("stable-core") / "token"


def read_token() -> str:
    """The token of this user on this machine, made on first use, readable by the user alone."""
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    except FileExistsError:
        pass
    return path.read_text().strip()


class Guard:
    """WSGI middleware in front of everything, and the check of tokens.

    Refuses a Host that is a foreign DNS name (rebinding) and an Origin that is not this server, port included."""

    def __init__(self, app: Callable, token: str, port: int):
        self._app, self._token, self.cookie = app, token, f"stable_core_{port}"
        self._names = {"localhost", socket.gethostname().lower()}

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        try:
            self.check_source(environ)
        except Forbidden as error:
            body = json.dumps({"ok": False, "error": error.wire()}).encode()
            start_response("403 Forbidden", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return self._app(environ, start_response)

    def check_source(self, environ: dict[str, Any]) -> None:
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

    def owner(self, environ: dict[str, Any], token: Any = None) -> str:
        """Who sent this: by `token`, a Bearer header or the cookie. Raises Unauthorized."""
        try:
            cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self.cookie)
        except CookieError:
            cookie = None
        bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        given = str(token or bearer or (cookie.value if cookie else ""))
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            problem = "the token is wrong." if given else "no token was sent."
            raise Unauthorized(problem, hint=f"The right one is in {token_file()} on the server's machine.")
        return OWNER
