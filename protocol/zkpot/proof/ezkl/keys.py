"""The files of one shape: made once per cache, checked before every use.

The verification key is always derived here, from the shape, and never taken from anybody.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zkpot.ids import Digest, digest
from zkpot.model import Shape
from zkpot.proof.cache import Cache, sha256_file
from zkpot.proof.ezkl import circuit, srs
from zkpot.proof.ezkl.engine import PINNED_VERSION, KeyFiles, ezkl_module
from zkpot.proof.ezkl.layout import Layout, measure
from zkpot.proof.system import Obstacle, Progress, ProvingFailed

_RULES = b"1"
"""Raised whenever the rules of `layout` change, so that old entries are not used."""

_GRAPH, _SETTINGS = "circuit.onnx", "settings.json"
_COMPILED, _VERIFICATION_KEY, _PROVING_KEY = "circuit.ezkl", "verification.key", "proving.key"

_logger = logging.getLogger(__name__)


def _log_progress(what: str, fraction: float) -> None:
    _logger.debug("%s: %.0f %%", what, 100 * fraction)


@dataclass(frozen=True)
class Keys:
    """Keys of `shape` with batches of `batch_size`, under the SRS named `srs`."""

    shape: Shape
    batch_size: int
    cache_dir: Path
    srs: str

    @cached_property
    def layout(self) -> Layout:
        """The circuit's size; needs no keys and no SRS, under a second when not cached."""
        return Layout.from_settings((self._layout_folder / _SETTINGS).read_bytes())

    @cached_property
    def _graph(self) -> bytes:
        return circuit.build(self.shape, self.batch_size)

    @cached_property
    def _layout_folder(self) -> Path:
        def make(folder: Path) -> None:
            (folder / _GRAPH).write_bytes(self._graph)
            found = measure(self.shape, self.batch_size, self._graph)
            (folder / _SETTINGS).write_bytes(found.settings)

        key = digest("ezkl-layout", _RULES, PINNED_VERSION.encode(), self._graph)
        return Cache(self.cache_dir).entry("layout", key, (_GRAPH, _SETTINGS), make)

    @cached_property
    def for_verifying(self) -> KeyFiles:
        """Settings, verification key and SRS, checked; made on first use."""
        return self.load(_log_progress, (_SETTINGS, _VERIFICATION_KEY))

    @cached_property
    def for_proving(self) -> KeyFiles:
        """Everything, checked: hashing the proving key takes about a second per GB."""
        names = (_SETTINGS, _VERIFICATION_KEY, _COMPILED, _PROVING_KEY)
        return self.load(_log_progress, names)

    def load(self, progress: Progress, names: tuple[str, ...]) -> KeyFiles:
        """The files, of which `names` are checked; makes all of them if one is not right."""
        progress("measuring the circuit", 0.0)
        settings = self.layout.settings
        progress("structured reference string", 0.1)
        srs_path = srs.locate(self.cache_dir, self.srs, self.layout.logrows)

        def make(folder: Path) -> None:
            progress("making the keys", 0.4)
            (folder / _SETTINGS).write_bytes(settings)
            _make_keys(folder, self._layout_folder / _GRAPH, srs_path)

        key = self._key_digest(settings, srs_path)
        folder = Cache(self.cache_dir).entry("keys", key, names, make)
        progress("keys are ready", 1.0)
        return KeyFiles(
            settings=folder / _SETTINGS,
            circuit=folder / _COMPILED,
            verification_key=folder / _VERIFICATION_KEY,
            proving_key=folder / _PROVING_KEY,
            srs=srs_path,
        )

    def prepare(self, progress: Progress) -> None:
        """Makes whatever is missing."""
        self.load(progress, (_SETTINGS, _VERIFICATION_KEY, _COMPILED, _PROVING_KEY))

    def _key_digest(self, settings: bytes, srs_path: Path) -> Digest:
        version = PINNED_VERSION.encode()
        return digest("ezkl-keys", version, self._graph, settings, sha256_file(srs_path))


def _make_keys(folder: Path, graph: Path, srs_path: Path) -> None:
    ezkl = ezkl_module()
    compiled, settings = str(folder / _COMPILED), str(folder / _SETTINGS)
    try:
        ezkl.compile_circuit(str(graph), compiled, settings)
        ezkl.setup(
            compiled,
            str(folder / _VERIFICATION_KEY),
            str(folder / _PROVING_KEY),
            str(srs_path),
        )
    except RuntimeError as error:
        raise ProvingFailed(Obstacle.CRASHED, f"making the keys: {error}"[:200]) from error
