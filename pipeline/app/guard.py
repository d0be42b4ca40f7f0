"""Who may use the page: a browser on this machine that shows this page, and nobody through it.

A page of another site that is open in the same browser can send requests to the loopback address.
It cannot forge `Host` (which a name that was rebound to 127.0.0.1 would betray) nor `Origin`.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

HEADERS = {
    # No inline script or style, nothing from elsewhere; blob: is the recording played back.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _own_hosts(request: web.Request) -> set[str]:
    """What a browser calls this server, from the port that the connection came to."""
    assert request.transport is not None
    port = request.transport.get_extra_info("sockname")[1]
    names = {"127.0.0.1", "localhost"}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a foreign Host, and whatever is not sent by the page itself but reads."""
    host = request.headers.get("Host", "")
    if host not in _own_hosts(request):
        raise web.HTTPForbidden(text=f"the Host {host!r} is not this server's")
    if request.method not in ("GET", "HEAD"):
        origin = request.headers.get("Origin")
        if origin != f"http://{host}":
            raise web.HTTPForbidden(
                text=f"Origin is {origin!r}, expected this page's 'http://{host}'"
            )
    return await handler(request)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler for every response, refusals included."""
    response.headers.update(HEADERS)
