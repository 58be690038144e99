"""gunicorn's threaded worker, with a stop that leaves nobody waiting at a closed door."""

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]


class Worker(ThreadWorker):  # type: ignore[misc]
    """A ``gthread`` worker that refuses new connections as soon as it is told to stop.

    gunicorn's own stops accepting but keeps its listening sockets open while it finishes what is
    in flight: the kernel goes on completing connections, which are then reset unanswered. Refused
    at once, a balancer takes such a request to another node.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                self._accept_waiting(listener)
                listener.close()

    def _accept_waiting(self, listener: object) -> None:
        # These clients connected before we stopped; they are owed an answer.
        before = -1
        while self.nr_conns != before:
            before = self.nr_conns
            self.accept(listener)
