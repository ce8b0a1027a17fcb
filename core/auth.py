"""Who may talk to the server: whoever holds the token. Foreign web pages are kept out by core/rest/source.py."""

import hmac
from typing import Any

from core.errors import Unauthorized
from core.ops.tokens import token_file

OWNER = "local"  # whoever holds the token of this machine


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
