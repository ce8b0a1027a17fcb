"""Who may talk to the server: whoever holds the token. Foreign web pages are kept out by core/rest/source.py."""

import hmac
import os
import secrets
from pathlib import Path
from typing import Any

import platformdirs

from core.errors import Internal, Unauthorized

OWNER = "local"  # whoever holds the token of this machine


def token_file() -> Path:
    return platformdirs.user_config_path("stable-core") / "token"


def read_token() -> str:
    """The token of this user on this machine, made on first use, readable by the user alone. Raises Internal."""
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    except FileExistsError:
        pass
    if token := path.read_text().strip():
        return token
    raise Internal(f"the token file {path} is empty.", hint="Delete it and start again.")


class Guard:
    """Knows the token, and the cookie's name, which has the port in it: servers on one machine keep apart."""

    def __init__(self, token: str, port: int):
        self._token, self.cookie = token, f"stable_core_{port}"

    def owner(self, environ: dict[str, Any], token: Any = None) -> str:
        """Who sent this: by `token`, a Bearer header or the cookie. Raises Unauthorized."""
        cookies = dict(part.strip().partition("=")[::2] for part in environ.get("HTTP_COOKIE", "").split(";"))
        scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = str(token or (scheme == "Bearer" and bearer) or cookies.get(self.cookie, ""))
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            problem = "the token is wrong." if given else "no token was sent."
            raise Unauthorized(problem, hint=f"The right one is in {token_file()} on the server's machine.")
        return OWNER
