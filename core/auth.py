"""Who may talk to the server: whoever holds a token. Foreign web pages are kept out by core/rest/source.py."""

import hmac
from typing import Any

from core.errors import Forbidden, Unauthorized
from core.ops.tokens import token_file

OWNER = "local"  # whoever holds the token of this machine; the admin


class Guard:
    """Knows the tokens of all owners, and the cookie's name, which has the port in it: servers on one machine keep
    apart."""

    def __init__(self, tokens: dict[str, str], port: int):
        self.tokens, self.cookie = tokens, f"stable_core_{port}"

    def owner(self, environ: dict[str, Any], token: Any = None) -> str:
        """Who sent this: by `token`, a Bearer header or the cookie. Raises Unauthorized."""
        cookies = dict(part.strip().partition("=")[::2] for part in environ.get("HTTP_COOKIE", "").split(";"))
        scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = str(token or (scheme == "Bearer" and bearer) or cookies.get(self.cookie, "")).encode("utf-8", "replace")
        for owner, known in self.tokens.items():
            if hmac.compare_digest(given, known.encode()):
                return owner
        problem = "the token is wrong." if given else "no token was sent."
        raise Unauthorized(problem, hint=f"The right one is in {token_file()} on the server's machine.")


def admin_only(owner: str, what: str) -> None:
    """Raises Forbidden for everybody else."""
    if owner != OWNER:
        raise Forbidden(f"{owner} may not {what}: that is for the token of the server's own machine.")
