"""`zkpot-aggregator check`: tries what the aggregator needs for real."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from zkpot.config import load_config
from zkpot.errors import ZkpotError
from zkpot.ids import device_text
from zkpot.keys import load_key_file
from zkpot.proof.registry import SYSTEM_TO_PACKAGE, installed
from zkpot.record import Roster, RosterEntry
from zkpot_aggregator.config import AggregatorConfig, BrokerKind
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.embedded.broker import EmbeddedBroker
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.task_data import load_task_data


@dataclass(frozen=True)
class Finding:
    """Whether one thing works, and if not, what to do."""

    what: str
    ok: bool
    detail: str


def check_aggregator(path: Path) -> list[Finding]:
    """Checks the configuration and everything it names."""
    try:
        config = load_config(AggregatorConfig, path)
    except ZkpotError as error:
        return [Finding("config", ok=False, detail=str(error))]
    tests: tuple[tuple[str, Callable[[AggregatorConfig], str]], ...] = (
        ("key", _key),
        ("devices", _devices),
        ("data", _data),
        ("prover", _prover),
        ("ledger", _ledger),
        ("content", _content),
        ("broker", _broker),
    )
    return [Finding("config", ok=True, detail=str(path)), *(_try(*t, config) for t in tests)]


def _try(what: str, test: Callable[[AggregatorConfig], str], config: AggregatorConfig) -> Finding:
    try:
        return Finding(what, ok=True, detail=test(config))
    except (ZkpotError, OSError) as error:
        return Finding(what, ok=False, detail=str(error))


def _key(config: AggregatorConfig) -> str:
    return device_text(load_key_file(config.key_file).id)


def _devices(config: AggregatorConfig) -> str:
    Roster.of(RosterEntry(bytes.fromhex(d.public_key), d.owner) for d in config.devices)
    missing = [
        str(device.password_file)
        for device in config.devices
        if config.broker.kind is BrokerKind.EMBEDDED
        and (device.password_file is None or not device.password_file.exists())
    ]
    if missing:
        raise OSError(f"the embedded broker needs these password files: {', '.join(missing)}")
    return f"{len(config.devices)} enrolled"


def _data(config: AggregatorConfig) -> str:
    data = load_task_data(config.task.dataset, config.task.dataset_parameters, config.state_dir)
    rounds = data.pool.size // config.task.batch_size
    if rounds < config.task.rounds and not config.task.reuse_pool:
        raise OSError(
            f"a pool of {data.pool.size} lasts {rounds} rounds of {config.task.batch_size}, "
            f"not {config.task.rounds}"
        )
    return f"{data.pool.size} samples in the pool"


def _prover(config: AggregatorConfig) -> str:
    if config.task.proof_system not in installed():
        package = SYSTEM_TO_PACKAGE.get(config.task.proof_system, "?")
        raise OSError(f"{config.task.proof_system} is not installed: it needs {package}")
    return config.task.proof_system


def _ledger(config: AggregatorConfig) -> str:
    if config.ledger.settings is not None:
        return _node(config.ledger.settings)
    folder = Layout(config.state_dir).chain
    if not folder.exists():
        return f"will be made in {folder}"
    identity = EmbeddedLedger.open_read_only(folder).identity()
    return f"chain {identity.chain_id}, contract 0x{identity.contract.hex()}"


def _node(settings: JsonRpcSettings) -> str:
    with JsonRpcLedger.open(settings) as ledger:
        identity = ledger.identity()
    if settings.key() is None:
        raise OSError("no key_file or key_credential: calls are only simulated")
    return f"node on chain {identity.chain_id}, contract 0x{identity.contract.hex()}"


def _content(config: AggregatorConfig) -> str:
    settings = config.content.settings
    if settings is None:
        return f"directory {Layout(config.state_dir).content}"
    with KuboStore(settings.url, timeout_s=settings.timeout_s) as store:
        return f"IPFS daemon {store.version()}, {len(store.pins())} pins"


def _broker(config: AggregatorConfig) -> str:
    if config.broker.settings is not None:
        return f"external, {config.broker.settings.host}:{config.broker.settings.port}"
    with TemporaryDirectory() as folder, EmbeddedBroker(Path(folder), []) as broker:
        return f"embedded, can listen on {broker.host}"
