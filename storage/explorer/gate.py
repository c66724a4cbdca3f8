"""Who may ask: only a browser that was given the token, under an address of this machine.

The address that the command prints carries the token; opening it trades the token for a cookie and leads to the same page
without it. A page of another site can neither guess the token nor send the cookie, which is `SameSite=Strict`; and a
name that was made to point here (DNS rebinding) fails at the Host header.
"""

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
CLOSED = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>starloop explorer</title><h1>This page is not open to everybody</h1>'
    "<p>Open the address that <code>starloop explore</code> printed: it has the token of this session. A token of an earlier "
    "session does not count.</p></html>"
)


class Gate:
    """Stands before the application: Host, token, method, and the headers of every answer."""

    def __init__(self, application: ASGIApp, token: str, port: int) -> None:
        self._application = application
        self._token = token
        self._cookie = f"starloop_explorer_{port}"
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(scope)
        await (self._application if answer is None else answer)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer in place of the page; None if the page may be seen."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse("this server answers on 127.0.0.1 only\n", 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("this server is for reading\n", 405)
        if scope["method"] == "POST" and headers.get("origin") not in {f"http://{host}" for host in self._hosts}:
            return PlainTextResponse("this was sent from another site\n", 403)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(self._right(value) for name, value in query if name == "token"):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            path = "/" + scope["path"].lstrip("/\\")
            answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            answer.set_cookie(self._cookie, self._token, path="/", httponly=True, samesite="strict")
            return answer
        if not any(self._right(value) for value in self._cookies(headers.getlist("cookie"))):
            return HTMLResponse(CLOSED, 403)
        return None

    def _cookies(self, given: Iterable[str]) -> list[str]:
        found = []
        for header in given:
            try:
                jar = SimpleCookie(header)
            except CookieError:  # one that another program on this machine set for itself
                continue
            if self._cookie in jar:
                found.append(jar[self._cookie].value)
        return found

    def _right(self, value: str) -> bool:
        return hmac.compare_digest(value.encode("utf-8", "surrogatepass"), self._token.encode())
