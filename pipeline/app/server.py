"""The page's server: one page, its files, and one request that answers line by line."""

import asyncio
import json
import math
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import jinja2
import numpy as np
from aiohttp import web

from pipeline.app import guard
from pipeline.app.upload import MAX_BYTES, MAX_SECONDS, samples
from pipeline.errors import AudioError, SernetError
from pipeline.predict import Classifier

HOST = "127.0.0.1"
HOP = 0.5  # seconds
MOST_WINDOWS = 120  # a fifth to half a second each, with the device's bits
RECORDING_SECONDS = 60

Result = TypeVar("Result")


def hop(seconds: float, input_len: float) -> float:
    """From one window to the next, in seconds: longer where the recording is long."""
    return max(HOP, math.ceil(10 * (seconds - input_len) / (MOST_WINDOWS - 1)) / 10)


class Service:
    """The handlers. `classifier` runs in one thread, so that requests take turns."""

    def __init__(self, classifier: Classifier, model: Path) -> None:
        self._classifier = classifier
        self._worker = ThreadPoolExecutor(1, "classifier")
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        template = (files(__package__) / "templates" / "page.html.j2").read_text("utf-8")
        self._page = environment.from_string(template).render(
            card=classifier.card,
            model=model,
            max_bytes=MAX_BYTES,
            max_seconds=MAX_SECONDS,
            recording_seconds=RECORDING_SECONDS,
        )

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")

    async def classify(self, request: web.Request) -> web.StreamResponse:
        """The body is a recording; the answer is JSON lines, or an error as one JSON object.

        First line: `label` and `probabilities` of the recording, as `sernet predict` gives them,
        its length `seconds`, the number of `windows` that follow. Then a line per window: `start`
        and `end` in seconds, and `heard`, which is null where the window is silent.
        """
        try:
            content = await self._body(request)
            y = await self._run(samples, content, self._classifier.card.sample_rate)
            heard = await self._run(self._classifier.hear, y)
        except AudioError as problem:
            return web.json_response({"error": str(problem)}, status=422)
        except web.HTTPRequestEntityTooLarge:
            return web.json_response(
                {"error": f"over the limit of {MAX_BYTES:,} bytes: cut it"},
                status=413,
            )
        return await self._answer(request, y, asdict(heard))

    async def _body(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > MAX_BYTES:  # before any of it is read
            raise web.HTTPRequestEntityTooLarge(MAX_BYTES, request.content_length or 0)
        return await request.read()  # stops at client_max_size

    async def _answer(
        self, request: web.Request, y: np.ndarray, whole: dict[str, object]
    ) -> web.StreamResponse:
        card = self._classifier.card
        seconds = len(y) / card.sample_rate
        windows = self._classifier.windows(len(y), hop(seconds, card.input_len))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await _write(response, {**whole, "seconds": seconds, "windows": len(windows)})
        for start, end in windows:
            try:
                heard = asdict(await self._run(self._classifier.hear, y[start:end]))
            except AudioError:
                heard = None
            span = {"start": start / card.sample_rate, "end": end / card.sample_rate}
            await _write(response, {**span, "heard": heard})
        return response

    async def _run(self, function: Callable[..., Result], *arguments: object) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, function, *arguments)

    async def close(self, _app: web.Application) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)


async def _write(response: web.StreamResponse, line: dict[str, object]) -> None:
    await response.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def application(model: Path) -> web.Application:
    """The page for `model`; MissingError where the model or its card is not there."""
    service = Service(Classifier(model), model)
    app = web.Application(middlewares=[guard.same_origin], client_max_size=MAX_BYTES)
    app.on_response_prepare.append(guard.add_headers)
    app.on_cleanup.append(service.close)
    app.router.add_get("/", service.page)
    app.router.add_post("/classify", service.classify)
    app.router.add_static("/static", str(files(__package__) / "static"))
    return app


def listen(port: int) -> socket.socket:
    """A socket on the loopback address alone; SernetError where the port cannot be had."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as problem:
        listener.close()
        reason = getattr(problem, "strerror", None) or "it is not between 0 and 65535"
        raise SernetError(
            f"cannot listen on port {port} of {HOST}: {reason}; name another with --port, or 0 for any free one"
        ) from None
    return listener


def run(model: Path, port: int) -> None:
    """Serve until Ctrl-C; print the address once it answers."""
    listener = listen(port)
    try:
        app = application(model)

        async def say_where(_app: web.Application) -> None:
            given = listener.getsockname()[1]
            print(f"sernet app: http://{HOST}:{given}/ (Ctrl-C stops it)", flush=True)

        app.on_startup.append(say_where)
        # The socket listens already, so whoever reads the address can connect.
        web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=1)
    finally:
        listener.close()
