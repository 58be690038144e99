"""A TCP proxy that loses messages: the network between a driver and its server, on a bad day."""

import contextlib
import random
import socket
import threading


class LossyProxy:
    """Passes connections on to ``target`` and cuts some of them in the middle.

    :param loss: how likely it is, for each piece of data, that it gets lost with its connection:
        a request that never arrives, or an answer to one that was carried out.
    :param seed: gives the same losses for the same traffic.
    """

    def __init__(self, target, loss, seed):
        self._target = target
        self.loss = loss
        self.cuts = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # shutdown() wakes the accept() that close() alone would leave waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(self._target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source, sink):
        # An end of either side ends the connection, also for the thread of the other direction.
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    lost = self._random.random() < self.loss
                    self.cuts += lost
                if lost:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
