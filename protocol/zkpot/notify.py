"""Telling systemd how the service is (sd_notify(3)), and the pulse behind its watchdog.

The protocol is one datagram to the socket named in NOTIFY_SOCKET; outside of systemd there
is none and nothing is sent.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from zkpot.proof.system import Progress

_logger = logging.getLogger(__name__)

IDLE_ALLOWANCE_S = float("inf")
QUEUE_WAIT_S = 2.0
"""For a manager that is behind; the kernel queues only a few datagrams for it."""


class Notifier:
    """Sends to the service manager that started us, if one did."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of Linux's abstract names.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        usable = ours and microseconds.isdecimal() and bool(self._address)
        self.watchdog_s = int(microseconds) / 1e6 if usable else None

    def ready(self) -> None:
        """The service has started: what it waits for can reach it."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service ends, on purpose."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; the same again is not sent."""
        text = " ".join(text.split())
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}", wait_s=0)

    def _send(self, message: str, wait_s: float = QUEUE_WAIT_S) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(wait_s)
                sock.connect(self._address)
                sock.send(message.encode())
        except OSError as error:
            _logger.debug("cannot notify the service manager: %s", error)


class Pulse:
    """Whether the work gets on: while it is under way, something must happen now and then.

    Work without limits of its own (waiting for a round) has no allowance and always counts as
    alive, as long as the event loop can say so.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowance_s = IDLE_ALLOWANCE_S
        self._last = clock()

    def busy(self, allowance_s: float) -> None:
        """Work begins; `allowance_s` is the longest it may go without a sign of life."""
        self._allowance_s = allowance_s
        self._last = self._clock()

    def beat(self) -> None:
        """The work got on."""
        self._last = self._clock()

    def idle(self) -> None:
        """Nothing is under way."""
        self._allowance_s = IDLE_ALLOWANCE_S

    @property
    def alive(self) -> bool:
        """False once the work is silent for longer than it may be."""
        return self._clock() - self._last <= self._allowance_s


async def feed_watchdog(notifier: Notifier, pulse: Pulse) -> None:
    """Feeds it at half its time while the work gets on; returns if there is none."""
    if notifier.watchdog_s is None:
        return
    while True:
        if pulse.alive:
            notifier.alive()
        else:
            _logger.error("the work does not get on: leaving the rest to the watchdog")
        await asyncio.sleep(notifier.watchdog_s / 2)


class StatusLine:
    """Phase and percentage for `systemctl status`, and a beat for every step."""

    def __init__(self, notifier: Notifier, pulse: Pulse, passed_on: Progress) -> None:
        self._notifier = notifier
        self._pulse = pulse
        self._passed_on = passed_on
        self._phase = "starting"

    def phase(self, text: str) -> None:
        """A new phase, like `round 3: training`."""
        self._phase = text
        self._notifier.status(text)

    def progress(self, what: str, fraction: float) -> None:
        """A step within the phase."""
        self._pulse.beat()
        self._notifier.status(f"{self._phase}, {what} {fraction:.0%}")
        self._passed_on(what, fraction)
