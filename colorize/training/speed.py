"""How many images a second."""

import time


class Speed:
    """Images per second since the last restart."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start to count."""
        self.images = 0
        self.since = time.perf_counter()
        self.paused: float | None = None

    def pause(self) -> None:
        """Let the time from here on not count, until `go_on`."""
        self.paused = time.perf_counter()

    def go_on(self) -> None:
        """Let time count again."""
        self.since += time.perf_counter() - self.paused
        self.paused = None

    def rate(self) -> float:
        """Return images per second."""
        return self.images / (time.perf_counter() - self.since)
