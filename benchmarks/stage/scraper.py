"""Scrapes the metrics as Prometheus does."""

import http.client
import threading
import time
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 1.0
"""As monitoring/prometheus.yml has it."""


class Scraper:
    """Asks for the metrics again and again, as Prometheus does; a thread of its own."""

    def __init__(self, url: str) -> None:
        self._address, self._path = urlsplit(url).netloc, urlsplit(url).path
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._scrape_on, daemon=True)
        self.seen: dict[str, float] = {}
        self.times_ms: list[float] = []
        self.failures = 0
        self._thread.start()

    def _scrape_on(self) -> None:
        due = time.monotonic()
        while not self._is_over.wait(max(0.0, due - time.monotonic())):
            due = max(due + SCRAPE_SECONDS, time.monotonic())
            try:
                self.scrape()
            except (OSError, http.client.HTTPException, ValueError):  # ValueError: it can't be read
                self.failures += 1

    def scrape(self) -> dict[str, float]:
        """Return each metric, summed over its labels."""
        began = time.monotonic()
        connection = http.client.HTTPConnection(self._address, timeout=5)
        connection.request("GET", self._path)
        text = connection.getresponse().read().decode()
        connection.close()
        self.times_ms.append((time.monotonic() - began) * 1000)
        self.seen = sum_metrics(text)
        return self.seen

    def take_times_ms(self) -> list[float]:
        taken, self.times_ms = self.times_ms, []
        return taken

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


def sum_metrics(text: str) -> dict[str, float]:
    """Return each metric of Prometheus's text format, summed over its labels."""
    summed: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            summed[sample.name] = summed.get(sample.name, 0.0) + sample.value
    return summed
