"""A TCP relay whose connections can fall silent, as they do when a machine loses its power: nobody is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Relay:
    """Passes bytes on, both ways, until it is frozen. Connections of afterwards are as good as new."""

    def __init__(self, listener: socket.socket, target: str) -> None:
        self.address = "{}:{}".format(*listener.getsockname())
        self._listener, self._target = listener, target
        self._sockets: list[socket.socket] = []
        self._frozen = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """From now on, nothing passes over the connections that there are; they stay open."""
        self._frozen.set()
        self._frozen = threading.Event()

    def close(self) -> None:
        for one in [self._listener, *self._sockets]:
            try:
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            except OSError:
                pass
            one.close()

    def _accept(self) -> None:
        host, port = self._target.rsplit(":", 1)
        try:
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((host, int(port)))
                self._sockets += [near, far]
                for ends in [(near, far), (far, near)]:
                    threading.Thread(target=_pass, args=(*ends, self._frozen), daemon=True).start()
        except OSError:
            pass


def _pass(source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
    try:
        while data := source.recv(1 << 16):
            if not frozen.is_set():
                sink.sendall(data)
        if not frozen.is_set():
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """Listens on a free loopback port."""
    relay = Relay(socket.create_server(("127.0.0.1", 0)), target)
    try:
        yield relay
    finally:
        relay.close()
