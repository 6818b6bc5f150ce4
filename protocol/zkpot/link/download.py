"""Which blocks of an object to ask for, and when: no clock, network or disk inside.

Feed it what happened (`Answer`, `Tick`, `Reconnected`) with the time; it returns what to do:
`Ask` for blocks, `Keep` a block, `Done`. It holds names and times, never contents, so its
memory is bounded by the number of leaves. Only blocks that the object still lacks and whose hash
is right are kept, asked for or not: a validator that listens in keeps those too, and must not
know more than the one who asks. The order is the manifest, then the missing leaves in a sliding
window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from zkpot.cid import MAX_OBJECT_BYTES, Cid, Manifest, check_block, is_node, parse_manifest
from zkpot.errors import Reason, Rejected
from zkpot.wire.messages import MAX_WANTED_BLOCKS

DEFAULT_WINDOW = MAX_WANTED_BLOCKS // 4
"""2 MiB under way: within the memory of the smallest board."""

FIRST_TIMEOUT_S = 2.0
LONGEST_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A block arrived, or word that the peer does not have it."""

    cid: Cid
    data: bytes | None


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class Reconnected:
    """What was under way is lost."""


Happening: TypeAlias = Answer | Tick | Reconnected


@dataclass(frozen=True)
class Ask:
    """Send a Want for these, at most a window."""

    cids: tuple[Cid, ...]


@dataclass(frozen=True)
class Keep:
    """Store this block; it is the one its name says."""

    cid: Cid
    data: bytes


@dataclass(frozen=True)
class Done:
    """Every block is in the store."""


Action: TypeAlias = Ask | Keep | Done


class Download:
    """One object on its way. `get` gives checked blocks of the local store, and is asked first.

    `max_bytes` bounds the object: a manifest that announces more is `Rejected`, like one
    that is malformed.
    """

    def __init__(
        self,
        root: Cid,
        get: Callable[[Cid], bytes | None],
        *,
        max_bytes: int = MAX_OBJECT_BYTES,
        window: int = DEFAULT_WINDOW,
        first_timeout_s: float = FIRST_TIMEOUT_S,
    ) -> None:
        if not is_node(root):
            raise Rejected(Reason.CID_MISMATCH, "only objects are fetched, not single leaves")
        if not 1 <= window <= MAX_WANTED_BLOCKS:
            raise ValueError(f"window {window} outside [1, {MAX_WANTED_BLOCKS}]")
        self._root = root
        self._get = get
        self._max_bytes = max_bytes
        self._window = window
        self._first_timeout_s = first_timeout_s
        self._timeout_s = first_timeout_s
        self._manifest: Manifest | None = None
        self._missing: list[Cid] = []
        self._asked: dict[Cid, None] = {}
        self._lacking: list[Cid] = []
        self._ask_again_at = float("inf")
        self.absent = False
        """Whether the peer's last word was that it does not have a block."""

    @property
    def wakes_at(self) -> float:
        """When to send the next `Tick`."""
        return self._ask_again_at

    @property
    def progress(self) -> tuple[int, int]:
        """Blocks in the store and blocks in all; (0, 0) before the manifest is there."""
        if self._manifest is None:
            return 0, 0
        total = len(set(self._manifest.leaves)) + 1
        return total - len(self._missing) - len(self._asked) - len(self._lacking), total

    def start(self, now: float) -> list[Action]:
        """The first thing to do."""
        manifest = self._get(self._root)
        if manifest is None:
            self._missing = [self._root]
        else:
            self._read_manifest(manifest)
        return self._advance(now)

    def step(self, happening: Happening, now: float) -> list[Action]:
        """What to do after `happening` at `now` (seconds of any steady clock)."""
        match happening:
            case Answer(cid, data):
                return self._answer(cid, data, now)
            case Tick():
                return self._again(now) if now >= self._ask_again_at else []
            case Reconnected():
                self._timeout_s = self._first_timeout_s
                return self._again(now)

    def _answer(self, cid: Cid, data: bytes | None, now: float) -> list[Action]:
        waiting = next((each for each in (self._missing, self._lacking) if cid in each), None)
        if cid not in self._asked and (waiting is None or data is None):
            return []
        if data is None:
            # Asked for again at the next tick, since the peer may get it before the deadline;
            # until then it makes room for others.
            self.absent = True
            del self._asked[cid]
            self._lacking.append(cid)
            return self._advance(now)
        try:
            check_block(cid, data)
        except Rejected:
            return []
        self.absent = False
        if waiting is None:
            del self._asked[cid]
        else:
            waiting.remove(cid)
        self._timeout_s = self._first_timeout_s
        if cid == self._root:
            self._read_manifest(data)
        return [Keep(cid, data), *self._advance(now)]

    def _read_manifest(self, data: bytes) -> None:
        manifest = parse_manifest(self._root, data)
        if manifest.size > self._max_bytes:
            raise Rejected(
                Reason.OVERSIZE, f"object of {manifest.size} bytes, at most {self._max_bytes}"
            )
        self._manifest = manifest
        self._missing = [leaf for leaf in dict.fromkeys(manifest.leaves) if self._get(leaf) is None]

    def _advance(self, now: float) -> list[Action]:
        if not self._missing and not self._asked and not self._lacking:
            self._ask_again_at = float("inf")
            return [Done()]
        self._ask_again_at = now + self._timeout_s
        # Asking for one block per block that came would double the messages.
        if not self._missing or 2 * len(self._asked) > self._window:
            return []
        return [Ask(self._fill_window())]

    def _again(self, now: float) -> list[Action]:
        under_way = tuple(self._asked)
        self._missing += self._lacking
        self._lacking.clear()
        wanted = under_way + self._fill_window()
        if not wanted:
            return []
        self._timeout_s = min(LONGEST_TIMEOUT_S, 2 * self._timeout_s)
        self._ask_again_at = now + self._timeout_s
        return [Ask(wanted)]

    def _fill_window(self) -> tuple[Cid, ...]:
        """Moves missing blocks into the free part of the window."""
        room = self._window - len(self._asked)
        fresh, self._missing = self._missing[:room], self._missing[room:]
        self._asked.update(dict.fromkeys(fresh))
        return tuple(fresh)
