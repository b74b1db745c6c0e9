"""The questions as a page in a browser on this machine, and nobody else's.

The server listens on 127.0.0.1 only. Its address holds a random token, so that no other page of the browser can answer;
requests must name this host, and what changes anything must come from the page itself. The page fetches nothing else.
"""

import errno
import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from demonstrably.decisions.elicit_session import ElicitSession
from demonstrably.decisions.elicitation import Question
from demonstrably.report.blocks import ENVIRONMENT

Facts = Callable[[Question], list[tuple[str, str]]]

HOST = "127.0.0.1"
LARGEST = 10_000  # bytes of a request
PATIENCE = 30  # seconds that a connection may stay silent


@dataclass(frozen=True)
class Wording:
    """What the page says: the question and the two answers. `progress`: whether it shows how the interval narrows."""

    question: str
    yes: str
    no: str
    progress: bool = False


class Page:
    """One elicitation behind the page. Its methods are called from the server's threads, one at a time."""

    def __init__(self, session: ElicitSession, facts: Facts, wording: Wording) -> None:
        self.token = secrets.token_urlsafe(24)
        self.finished = False
        self._session, self._facts, self._wording = session, facts, wording
        self._lock = Lock()

    def text(self, nonce: str) -> str:
        """The page itself; styles and scripts run only with the nonce of its headers."""
        return ENVIRONMENT.get_template("elicit.html").render(wording=self._wording, nonce=nonce)

    def change(self, action: str, given: dict[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        """Does what the person chose, unless the page shows another question than is open: then it says which is."""
        with self._lock:
            question = self._session.question()
            number = self._session.answered + 1
            if self.finished or given.get("number") != number:
                return HTTPStatus.CONFLICT, self._state()
            try:
                if action == "answer" and question is not None and isinstance(given.get("decision"), bool):
                    self._session.answer(given["decision"])
                elif action == "take-back":
                    self._session.take_back()
                elif action == "finish":
                    self.finished = True
                else:
                    return HTTPStatus.BAD_REQUEST, self._state()
            except OSError as error:  # of the journal: the question stays open
                return HTTPStatus.INSUFFICIENT_STORAGE, {**self._state(), "problem": f"Not kept: {error}"}
            return HTTPStatus.OK, self._state()

    def state(self) -> dict[str, Any]:
        """What the page shows now."""
        with self._lock:
            return self._state()

    def _state(self) -> dict[str, Any]:
        question = self._session.question()
        state: dict[str, Any] = {"number": self._session.answered + 1, "finished": self.finished, "progress": None}
        if self._wording.progress:
            state["progress"] = "between {:.4g} and {:.4g}".format(*self._session.interval)
        if question is None or self.finished:
            found = self._session.result()
            return {**state, "lines": [*found.words(), *(f"Note: {note}" for note in found.notes)]}
        return {**state, "facts": self._facts(question), "repeated": question.repeated}


class Server(ThreadingHTTPServer):
    """Says nothing of a browser that hung up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers the page's requests, and refuses all others."""

    timeout = PATIENCE
    server_version, sys_version = "demonstrably", ""

    def __init__(self, page: Page, *connection: Any) -> None:
        self.page = page  # first: the request is answered while it is made
        super().__init__(*connection)

    def do_GET(self) -> None:
        action = self._action()
        if action is None:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "not allowed")
        elif action == "":
            nonce = secrets.token_urlsafe(16)
            self._send(HTTPStatus.OK, "text/html", self.page.text(nonce), nonce)
        elif action == "state":
            self._answer(HTTPStatus.OK, self.page.state())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "nothing here")

    def do_POST(self) -> None:
        action, given = self._action(), self._body()
        own = self.headers["Origin"] == f"http://{self.headers['Host']}"
        if action is None or not own or given is None:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "not allowed")
            return
        self._answer(*self.page.change(action, given))
        if self.page.finished:  # from another thread: shutdown waits for the loop that serves
            Thread(target=self.server.shutdown).start()

    def _action(self) -> str | None:
        """What is asked for; None where this host or the token is not named."""
        port = self.connection.getsockname()[1]
        token, slash, action = self.path.removeprefix("/").partition("/")
        known = secrets.compare_digest(token.encode(), self.page.token.encode()) and slash
        return action if known and self.headers["Host"] in (f"{HOST}:{port}", f"localhost:{port}") else None

    def _body(self) -> dict[str, Any] | None:
        """The JSON object that was sent; None for anything else. Forms of other pages cannot send JSON."""
        length = self.headers["Content-Length"] or ""
        if not length.isdecimal() or int(length) > LARGEST:
            return None
        sent = self.rfile.read(int(length))  # whatever it is: a connection closed before loses the answer
        try:
            given = json.loads(sent)
        except ValueError:
            return None
        return given if isinstance(given, dict) and self.headers["Content-Type"] == "application/json" else None

    def _answer(self, status: HTTPStatus, state: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(state))

    def _send(self, status: HTTPStatus, kind: str, text: str, nonce: str = "") -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in _headers(nonce).items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the person who answers."""


def serve(
    session: ElicitSession, facts: Facts, wording: Wording, port: int, *, announce: Callable[[str], None]
) -> None:
    """Serves the page until the person says that it is finished. `announce` is told its address.

    ValueError where the port is taken.
    """
    page = Page(session, facts, wording)
    try:
        server = Server((HOST, port), partial(Handler, page))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ValueError(f"port {port} is in use: give another, or leave --port out for any that is free") from error
    with server:
        announce(f"open http://{HOST}:{server.server_port}/{page.token}/ in a browser on this machine")
        announce("Ctrl-C here stops and keeps the answers")
        server.serve_forever(poll_interval=0.1)


def _headers(nonce: str) -> dict[str, str]:
    """Headers that let the page do what it needs and nothing else, and keep it out of frames and of the cache."""
    own = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; " if nonce else ""
    closed = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": f"default-src 'none'; {own}{closed}",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
