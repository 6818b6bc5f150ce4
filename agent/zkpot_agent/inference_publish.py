"""Publishes each new global model on the device, then tells the hook.

Every file is swapped in whole; `global-model.json` comes last and names what belongs
together, so that an application can tell. Where a file cannot be written, the older one
stays, and the facts do not name it.
"""

import asyncio
import hashlib
import json
import logging
from dataclasses import dataclass, field

from zkpot.cid import cid_text, split_object
from zkpot.errors import Rejected
from zkpot.files import PRIVATE, SHARED, remove_unfinished, replace_file
from zkpot.proof import child
from zkpot.proof.system import ProvingFailed
from zkpot.task import Task, encode_task
from zkpot_agent.config import AgentConfig
from zkpot_agent.inference import MODEL_FILE, TASK_FILE
from zkpot_agent.inference_convert import ModelFormat, convert_global_model, litert_installed
from zkpot_agent.inference_hook import tell

FACTS_FILE = "global-model.json"
TFLITE_FILE = "global-model.tflite"

CONVERT_SECONDS = 120.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publisher:
    """Puts models of one task where the config says."""

    config: AgentConfig
    task: Task
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self, data: bytes) -> None:
        """Writes the encoded global model `data` in every format; one at a time, in order."""
        async with self._turn:
            try:
                facts = await self._write(data)
            except OSError as error:
                _logger.warning("the new global model cannot be written: %s", error)
                return
            await tell(self.config.hook, facts)

    async def _write(self, data: bytes) -> bytes:
        self.config.model_dir.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.config.model_dir)
        self._replace(TASK_FILE, encode_task(self.task))
        self._replace(MODEL_FILE, data)
        files = {MODEL_FILE: data}
        if self.config.export.tflite and litert_installed():
            tflite = await self._tflite(data)
            if tflite is not None:
                self._replace(TFLITE_FILE, tflite)
                files[TFLITE_FILE] = tflite
        facts = {
            "task": self.config.task,
            "model": cid_text(split_object(data)[0]),
            "folder": str(self.config.model_dir),
            "files": {name: hashlib.sha256(each).hexdigest() for name, each in files.items()},
        }
        line = json.dumps(facts).encode() + b"\n"
        self._replace(FACTS_FILE, line)
        return line

    def _replace(self, name: str, data: bytes) -> None:
        mode = PRIVATE if self.config.export.folder is None else SHARED
        replace_file(self.config.model_dir / name, data, mode)

    async def _tflite(self, data: bytes) -> bytes | None:
        try:
            return await child.run(
                convert_global_model,
                self.task.model.shape,
                data,
                ModelFormat.TFLITE,
                limits=self.config.limits.of(CONVERT_SECONDS),
            )
        except (Rejected, ProvingFailed) as error:
            _logger.warning("no .tflite of the new global model: %s", error)
            return None
