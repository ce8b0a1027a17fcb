"""Asks a provider's API: one address, one key, tries again only what changes nothing, and typed errors for the rest."""

from typing import Annotated, Any, TypeVar

import requests
import urllib3
from pydantic import BaseModel, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from core.errors import Conflict, CoreError, Forbidden, NotFound, Timeout, Unauthorized

CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
TRIES, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5, 0.5, 30
BUSY = (429, 500, 502, 503, 504)
MAX_BYTES = 20_000_000  # of an answer
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Parsed = TypeVar("Parsed", bound=BaseModel)


class Web:
    """`title` names the provider in messages, in which the key never stands."""

    def __init__(self, title: str, key: str):
        self.title, self._key = title, key

    def read(self, method: str, url: str, **given: Any) -> Any:
        """The JSON of an answer to what may be asked as often as one likes (searches, looks, DELETE), so it is tried
        again after 429 and 5xx and where a connection breaks. None if there is no such thing (404)."""
        answer = self._ask(method, url, self._retry(TRIES, BUSY, read=True), given)
        return None if answer.status_code == 404 else self._json(answer)

    def make(self, method: str, url: str, body: dict[str, Any]) -> Any:
        """The JSON of an answer to what makes something. It is tried again only where it cannot have been done: no
        connection came about, or the provider said that it is too soon (429)."""
        return self._json(self._ask(method, url, self._retry(TRIES, (429,), read=False), {"json": body}))

    def _retry(self, tries: int, statuses: tuple[int, ...], read: bool) -> Retry:
        return Retry(
            total=tries, connect=tries, read=tries if read else 0, other=0, redirect=0, status=tries,
            status_forcelist=statuses, allowed_methods=None, backoff_factor=PAUSE_SECONDS, backoff_jitter=PAUSE_SECONDS,
            backoff_max=LONGEST_PAUSE_SECONDS, retry_after_max=LONGEST_PAUSE_SECONDS, raise_on_status=False,
        )  # fmt: skip

    def _ask(self, method: str, url: str, retry: Retry, given: dict[str, Any]) -> requests.Response:
        try:
            with requests.Session() as session:
                session.mount("http://", HTTPAdapter(max_retries=retry))
                session.mount("https://", HTTPAdapter(max_retries=retry))
                answer = session.request(
                    method, url, auth=self._sign, allow_redirects=False, stream=True,
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS), **given,
                )  # fmt: skip
                answer._content = answer.raw.read(MAX_BYTES + 1, decode_content=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            text = f"{self.title} does not answer: {self._clean(_innermost(error))}."
            raise Timeout(text, hint="Is this machine online? Try again later.") from error
        if len(answer.content) > MAX_BYTES:
            raise Conflict(f"{self.title} answers with more than {MAX_BYTES:,} bytes.")
        return answer

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As `auth`, so that what is in a .netrc does not take the key's place."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _json(self, answer: requests.Response) -> Any:
        if answer.status_code >= 300:
            raise self._error(answer.status_code, self._said(answer))
        if not answer.content:
            return {}
        try:
            return answer.json()
        except ValueError as error:
            text = f"{self.title} answers with what is no JSON: {self._clean(answer.text)}"
            raise Conflict(text) from error

    def _error(self, status: int, said: str) -> CoreError:
        text = f"{self.title} answers {status}: {said}"
        if status == 401:
            return Unauthorized(text, hint="Its API key is wrong or was withdrawn. docs/providers.md says where it is.")
        if status in (402, 403):
            return Forbidden(text, hint="Has the key the right to do that, and the account money left?")
        if status in (404, 410):
            return NotFound(text)
        if status in BUSY:
            return Timeout(text, hint="Its service has trouble or is busy. Try again later.")
        return Conflict(text)

    def _said(self, answer: requests.Response) -> str:
        """What an error says for people: RunPod has error, message or title and detail, vast.ai msg or detail."""
        try:
            body = answer.json()
        except ValueError:
            return self._clean(answer.text) or "nothing more"
        if isinstance(body, list):
            body = body[0] if body else {}
        if not isinstance(body, dict):
            return self._clean(str(body))
        found = [body[name] for name in ("msg", "message", "error", "title", "detail") if body.get(name)]
        return self._clean(" ".join(str(each) for each in found[:2])) or "nothing more"

    def _clean(self, text: str) -> str:
        """One line, not long, without the key."""
        return " ".join(text.replace(self._key, "***").split())[:300]

    def parse(self, model: type[Parsed], value: Any) -> Parsed:
        """Raises Conflict if the answer has not the documented form."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
            text = f"{self.title} answers in another form than documented ({self._clean(where)})."
            raise Conflict(text, hint="Its API may have changed. Is there a newer stable-core?") from error


def _innermost(error: BaseException) -> str:
    """What went wrong, without the libraries that it went through."""
    while inner := getattr(error, "reason", None) or next(iter(error.args[:1]), None):
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error.args[0] if error.args else error).rstrip(".")
