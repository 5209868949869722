"""Training speed in images per second."""

import time


class Speed:
    """Measures images per second since the last restart."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Reset the count and the time."""
        self.images = 0
        self.since = time.perf_counter()
        self.paused: float | None = None

    def pause(self) -> None:
        """Stop timing until `go_on`."""
        self.paused = time.perf_counter()

    def go_on(self) -> None:
        """Resume timing."""
        self.since += time.perf_counter() - self.paused
        self.paused = None

    def rate(self) -> float:
        """Return images per second."""
        return self.images / (time.perf_counter() - self.since)
