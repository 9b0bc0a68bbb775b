"""A small server for one page: on this machine only, for those who have its address.

It hands out the page and keeps grades on disk. Whoever knows the token in the address may grade;
pages of other sites, which know neither it nor the name of this host, may not.
"""

import json
import secrets
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError
from lensweep.scanner.inspection.grade_shelf import GradeShelf, TakenError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
# Five hundred grades with long comments.
MOST_BYTES = 1_000_000
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Address:
    """Where a page is served; the same after a restart, so that open pages find it again.

    Attributes
    ----------
    port : int
    token : str
    """

    port: int
    token: str

    @property
    def url(self) -> str:
        """What a browser is given."""
        return f"http://{HOST}:{self.port}/{self.token}/"


def make_app(page: Path, page_id: str, shelf: GradeShelf, token: str) -> Starlette:
    """The application.

    Parameters
    ----------
    page : Path
        HTML file.
    page_id : str
        Grades of another page, such as one that a browser tab has kept open, are refused.
    shelf : GradeShelf
    token : str
    """

    def check(request: Request) -> None:
        given = request.path_params["token"].encode()
        if not secrets.compare_digest(given, token.encode()):
            raise HTTPException(404)
        if request.path_params.get("page_id", page_id) != page_id:
            raise HTTPException(404, "grades of another page")

    async def hand_out(request: Request) -> Response:
        check(request)
        return FileResponse(page, media_type="text/html", headers=_HEADERS)

    async def read(request: Request) -> Response:
        check(request)
        rows = await _mending(shelf.read, request.path_params["grader"])
        return JSONResponse({"rows": rows}, headers=_HEADERS)

    async def save(request: Request) -> Response:
        check(request)
        _refuse_other_sites(request)
        given = _parsed(await _body(request))
        saved = await _mending(shelf.save, request.path_params["grader"], *given)
        return JSONResponse({"saved": saved}, headers=_HEADERS)

    grades = "/{token}/grades/{page_id}/{grader}"
    routes = [
        Route("/{token}/", hand_out, methods=["GET"]),
        Route(grades, read, methods=["GET"]),
        Route(grades, save, methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False)
    return Starlette(routes=routes, middleware=[hosts])


def serve(
    page: Path, page_id: str, shelf: GradeShelf, kept: Path, said: Callable[[str], None]
) -> None:
    """Serve a page until somebody stops it, and open it in the browser.

    Parameters
    ----------
    page, page_id, shelf
        As of `make_app`.
    kept : Path
        JSON file that keeps the address from one start to the next.
    said : callable
        Is told the address.

    Raises
    ------
    InputError
        If the port of the last start is in use: the page is being served already.
    """
    last = _last_address(kept)
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((HOST, last.port if last else 0))
        except OSError as error:
            raise InputError(
                f"port {last.port if last else 0}: in use ({error.strerror}); the page may be "
                f"served already, else remove {kept} to get another address"
            ) from error
        token = last.token if last else secrets.token_urlsafe(24)
        address = Address(opened.getsockname()[1], token)
        kept.touch(mode=0o600)
        write_json(kept, {"port": address.port, "token": token})
        kept.chmod(0o600)
        app = make_app(page, page_id, shelf, token)
        # From here on whoever comes waits for the first answer, instead of being refused.
        opened.listen()
        said(address.url)
        webbrowser.open(address.url)
        config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False,
                                server_header=False)  # fmt: skip
        uvicorn.Server(config).run(sockets=[opened])


def _last_address(kept: Path) -> Address | None:
    if not kept.is_file():
        return None
    try:
        values = json.loads(kept.read_text())
        return Address(int(values["port"]), str(values["token"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{kept}: no address in it ({error!r}); remove it") from error


def _refuse_other_sites(request: Request) -> None:
    """A page of another site can make a browser post here, but not as JSON, and not unseen."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415)
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
        raise HTTPException(403)


async def _body(request: Request) -> bytes:
    filled = bytearray()
    async for part in request.stream():
        filled += part
        if len(filled) > MOST_BYTES:
            raise HTTPException(413)
    return bytes(filled)


def _parsed(body: bytes) -> tuple[str, bool, dict[str, Any]]:
    try:
        values = json.loads(body)
        client, take, rows = values["client"], values["take"], values["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(400, f"not as this server takes it: {error!r}") from error
    if not isinstance(rows, dict) or not isinstance(client, str) or len(client) > 64:
        raise HTTPException(400, "rows and client as this server takes them")
    return " ".join(client.split()), take is True, rows


async def _mending(act: Callable[..., Any], *given: Any) -> Any:
    """Do what waits for a disk beside the loop; what a user can mend is an answer."""
    try:
        return await run_in_threadpool(act, *given)
    except TakenError as error:
        raise HTTPException(409, str(error)) from error
    except InputError as error:
        raise HTTPException(400, str(error)) from error
