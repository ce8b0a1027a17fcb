"""What the Hugging Face hub says of a file or folder that a plugin names: where it is, how large, and its hash."""

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from core.errors import Conflict, CoreError, Forbidden, NotFound, Timeout
from core.library.declared import DeclaredModel, is_plain


@dataclass
class Remote:
    """What is known of a file where it comes from. `hash` is its sha256 or, of a small file of the hub, what git calls
    it by."""

    url: str
    size: int | None
    hash: str | None
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None


def file(model: DeclaredModel) -> Remote:
    """That of one commit, so that all parts are of one file."""
    with _hub(model):
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        about = get_hf_file_metadata(hf_hub_url(model.repo, model.file, revision=model.revision))
        url = hf_hub_url(model.repo, model.file, revision=about.commit_hash or model.revision)
        headers = build_hf_headers()
    hashed = about.etag if re.fullmatch("[0-9a-f]{64}|[0-9a-f]{40}", about.etag or "") else None
    _compare(model, "size in bytes", about.size, model.size_bytes)
    if hashed and len(hashed) == 64:
        _compare(model, "sha256", hashed, model.sha256)
    return Remote(url, about.size or model.size_bytes, model.sha256 or hashed, headers)


def folder(model: DeclaredModel) -> dict[str, Remote]:
    """By path, the files of a commit that are wanted."""
    with _hub(model):
        from huggingface_hub import HfApi, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        listed = HfApi().model_info(model.repo, revision=model.revision, files_metadata=True).siblings or []
        headers, found = build_hf_headers(), {}
        for each in listed:
            name = each.rfilename
            if is_plain(name) and any(fnmatch.fnmatchcase(name, pattern) for pattern in model.files or ["*"]):
                url = hf_hub_url(model.repo, name, revision=model.revision)
                found[name] = Remote(url, each.size, each.lfs.sha256 if each.lfs else each.blob_id, headers)
    if not found:
        wanted = f" like {', '.join(model.files)}" if model.files else ""
        raise NotFound(f"{model.repo} on the hub has no files{wanted} at {model.revision}.")
    return found


def _compare(model: DeclaredModel, what: str, said: Any, named: Any) -> None:
    if None not in (said, named) and said != named:
        hint = "Nothing was fetched. Name the commit as revision in plugin.toml, or ask the plugin's author."
        text = f"the hub has another {model.file or model.repo} than {model.id} is to be"
        raise Conflict(f"{text}: {what} {said} instead of {named}.", hint=hint)


@contextlib.contextmanager
def _hub(model: DeclaredModel) -> Iterator[None]:
    """Says what the hub's answers mean, and the way out."""
    os.environ.pop("HF_HUB_OFFLINE", None)  # that is for plugins
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import errors

    page = re.split("/resolve/|/tree/", model.address)[0]
    try:
        yield
    except errors.GatedRepoError as error:
        text = f"{model.repo} is only for people who have accepted its terms on the hub."
        hint = f"Accept them at {page}, make a token at huggingface.co/settings/tokens, and set it as HF_TOKEN."
        raise Forbidden(text, hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        hint = "If it is private, set HF_TOKEN to a token that may read it."
        raise NotFound(f"the hub has no {model.repo} that you may see ({page}).", hint=hint) from error
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        raise NotFound(
            f"{model.repo} on the hub has no {model.file or 'files'} at {model.revision} ({page})."
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise unreachable(model, error) from error
    except Exception as error:  # those of its HTTP library, which is another one from version to version
        if not type(error).__module__.startswith("http"):
            raise
        raise unreachable(model, error) from error


def unreachable(model: DeclaredModel, error: Exception) -> CoreError:
    text = f"{model.address} cannot be reached: {' '.join(str(error).split())[:300]}"
    return Timeout(
        text, hint="Check the network, and the proxy (HTTPS_PROXY). Fetch it again: it goes on where it was."
    )
