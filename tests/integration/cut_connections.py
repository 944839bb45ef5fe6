"""A TCP proxy before PostgreSQL that loses the answer to chosen commits: forwarded, committed, and then silence."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

_COMMIT = b"COMMIT\x00"

Choose = Callable[[bytes], bool]


class CommitCutter:
    """``choose`` gets what a client sent since its last commit; True: this commit's answer never reaches the client."""

    def __init__(self, url: str, choose: Choose) -> None:
        self._target = make_url(url)
        self._choose = choose
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._turn = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.cuts = 0
        self.refusing = False
        self.linger: threading.Event | None = None  # the server learns of a client's end only when it is set

    @property
    def url(self) -> str:
        """The database through this proxy."""
        return self._target.set(port=self._listener.getsockname()[1]).render_as_string(hide_password=False)

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.create_connection((self._target.host or "", self._target.port or 5432))
                self._sockets += [client, server]
                threading.Thread(target=self._upwards, args=(client, server), daemon=True).start()
                threading.Thread(target=self._downwards, args=(client, server), daemon=True).start()

    def cut_all(self) -> None:
        """Every connection, as a lost network does."""
        for one in self._sockets[:: 1 if self.linger is None else 2]:  # the clients' only
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No connection is left."""
        self._listener.close()
        self.cut_all()
        for one in self._sockets:
            one.close()

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        sent = b""
        with suppress(OSError):
            while data := client.recv(65536):
                sent += data
                if sent.endswith(_COMMIT):
                    if self._is_chosen(sent):
                        # The answer is lost first: nothing of it may be on its way already.
                        client.shutdown(socket.SHUT_RDWR)
                        server.sendall(data)
                        return  # the other direction reads the server's answer and drops it
                    sent = b""
                server.sendall(data)
        if self.linger is not None:
            self.linger.wait(30)
        _end(client, server)

    def _downwards(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        if self.linger is not None:
            self.linger.wait(30)
        _end(client, server)

    def _is_chosen(self, sent: bytes) -> bool:
        with self._turn:
            chosen = self._choose(sent)
            self.cuts += chosen
            return chosen


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(url: str, choose: Choose) -> Iterator[CommitCutter]:
    """The proxy, while it is needed."""
    proxy = CommitCutter(url, choose)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(5)


def nth(number: int, *needles: bytes) -> Choose:
    """The n-th commit of a transaction that said all this."""
    seen = 0

    def choose(sent: bytes) -> bool:
        nonlocal seen
        seen += all(needle in sent for needle in needles)
        return seen == number and all(needle in sent for needle in needles)

    return choose


def every(number: int, needle: bytes = b"") -> Choose:
    """Each n-th commit of a transaction that said this."""
    seen = 0

    def choose(sent: bytes) -> bool:
        nonlocal seen
        if needle not in sent:
            return False
        seen += 1
        return seen % number == 0

    return choose


def sometimes(seed: int) -> Choose:
    """One commit in four, by chance."""
    chance = random.Random(seed)
    return lambda _sent: chance.random() < 0.25
