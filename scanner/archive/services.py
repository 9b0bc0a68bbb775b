"""Which services are asked, at which addresses and how politely; the user's own settings of these.

The settings are `archives.toml` in the user's configuration folder (or in the folder that
`LENSWEEP_CONFIG` names), with the names of `Services`; an environment variable such as
`LENSWEEP_ARCHIVE_HLA` wins over it. MAST's address and time-out are astroquery's own settings
(`[mast]` in `astroquery.cfg`).
"""

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from platformdirs import user_config_path
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.settings import check_types, fill, read_toml, within

T = TypeVar("T")
FOLDER_VARIABLE = "LENSWEEP_CONFIG"
_PREFIX = "LENSWEEP_ARCHIVE_"
# What a service answers when it is overloaded or being restarted.
_BUSY = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT_S = 120.0
_FIRST_WAIT_S = 0.5


class ServiceError(TryAgainError):
    """A service gave no answer, or none that means anything."""


@dataclass(frozen=True)
class Services:
    """What is asked, and how.

    Attributes
    ----------
    hla : str
        Address of the Hubble Legacy Archive; empty if it is not to be asked. It holds nothing
        observed after 2017-10-01 and may be withdrawn.
    sesame : str
        Address of CDS' name resolver; empty for astropy's list of them.
    connections : int
        Downloads at a time, of a command or of a whole cluster.
    requests_per_s : float
        Questions to the cutout services. MAST's limit is 5.
    timeout_s : float
        A server that says nothing for so long is given up.
    tries : int
        How often a question is asked, and a download begun or resumed without a byte coming.
    """

    hla: str = "https://hla.stsci.edu"
    sesame: str = ""
    connections: int = 3
    requests_per_s: float = 4.0
    timeout_s: float = 60.0
    tries: int = 5

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("hla", "sesame"):
            if getattr(self, name) and "://" not in getattr(self, name):
                raise InputError(f"{name} = {getattr(self, name)!r}: must be an address")
        within("connections", self.connections, 1, 16)
        within("requests_per_s", self.requests_per_s, 0.01, 100.0)
        within("timeout_s", self.timeout_s, 0.1, 3600.0)
        within("tries", self.tries, 1, 100)


def settings_path() -> Path:
    """Where the user's settings are, if there are any."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder) if folder else user_config_path("lensweep")) / "archives.toml"


def read_services() -> Services:
    """The services as the user has set them.

    Raises
    ------
    InputError
        If the file cannot be read, or it or the environment says something unfit.
    """
    path = settings_path()
    values = read_toml(path, Services, "settings") if path.is_file() else {}
    for field in dataclasses.fields(Services):
        stated = os.environ.get(_PREFIX + field.name.upper())
        if stated is not None:
            values[field.name] = _of_text(field.name, stated, type(field.default))
    return fill(Services, values, f"settings {path}")


def open_session(services: Services) -> requests.Session:
    """A session that waits for a server only so long, and asks again when that is busy."""
    session = requests.Session()
    retries = Retry(
        total=services.tries - 1, backoff_factor=_FIRST_WAIT_S, status_forcelist=_BUSY,
        # Of a redirect only so many; an answer that stays bad is returned, and told of as such.
        redirect=10, raise_on_status=False, retry_after_max=int(LONGEST_WAIT_S),
    )  # fmt: skip
    adapter = _Patient(services.timeout_s, retries)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def ask(service: str, question: Callable[[], T], tries: int) -> T:
    """Ask a service through a library that asks once: again, later, where that may help.

    Parameters
    ----------
    service : str
        Its name, for messages.
    question : callable
        Raises what `requests` raises.
    tries : int

    Raises
    ------
    ServiceError
        If no answer came, or none that can be read.
    """
    from astroquery.exceptions import InvalidQueryError, RemoteServiceError

    for attempt in range(1, tries + 1):
        try:
            return question()
        except (requests.RequestException, RemoteServiceError, InvalidQueryError,
                TimeoutError) as error:  # fmt: skip
            if attempt == tries or not _may_pass(error):
                raise ServiceError(f"{service}: {first_line(error)}; try later") from error
            time.sleep(wait_s(attempt, error))
    raise AssertionError("tries are at least 1")


def wait_s(attempt: int, error: BaseException | None = None) -> float:
    """How long to wait after so many failures: as a server says, or twice as long as before."""
    answer = getattr(error, "response", None)
    said = None if answer is None else answer.headers.get("Retry-After", "")
    if said and said.isdigit():
        return min(float(said), LONGEST_WAIT_S)
    return min(_FIRST_WAIT_S * 2.0 ** (attempt - 1), LONGEST_WAIT_S)


def first_line(error: BaseException) -> str:
    """What an error says, in at most 200 letters."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _may_pass(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _BUSY
    from astroquery.exceptions import InvalidQueryError

    # astroquery calls status 500 of MAST's newer services an invalid query.
    return isinstance(error, requests.ConnectionError | requests.Timeout | InvalidQueryError)


class _Patient(HTTPAdapter):
    """Requests waits for ever unless it is told otherwise with each question."""

    def __init__(self, timeout_s: float, retries: Retry) -> None:
        self._timeout_s = timeout_s
        super().__init__(max_retries=retries)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or self._timeout_s
        return super().send(*arguments, **options)


def _of_text(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(f"{_PREFIX}{name.upper()} = {text!r}: must be a number") from error
