"""The token of this user on this machine, in a file that only this user can read."""

import os
import secrets
from pathlib import Path

import platformdirs

from core.errors import Internal


def token_file() -> Path:
    return platformdirs.user_config_path("stable-core") / "token"


def read_token() -> str:
    """The token of this user on this machine, made on first use, readable by the user alone. Raises Internal."""
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(24))  # one that begins with - would be taken for a flag
    except FileExistsError:
        pass
    if token := path.read_text().strip():
        return token
    raise Internal(f"the token file {path} is empty.", hint="Delete it and start again.")
