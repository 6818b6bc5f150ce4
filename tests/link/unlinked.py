"""A link that is never used, for tests of what stands on one."""

from collections.abc import AsyncIterator

from zkpot.link.base import Incoming


class Unlinked:
    """Fails a test that uses it; a subclass has what its test does use."""

    async def run(self) -> None:
        raise AssertionError

    async def ready(self) -> None:
        raise AssertionError

    def incoming(self) -> AsyncIterator[Incoming]:
        raise AssertionError

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        raise AssertionError

    async def stop(self) -> list[str]:
        raise AssertionError
