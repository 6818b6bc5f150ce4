"""`zkpot-aggregator check`: tries what the aggregator needs for real."""

from pathlib import Path
from tempfile import TemporaryDirectory

from zkpot.config import load_config
from zkpot.errors import ZkpotError
from zkpot.findings import Check, Finding, attempt
from zkpot.ids import device_text
from zkpot.keys import load_key_file
from zkpot.proof.registry import SYSTEM_TO_PACKAGE, installed
from zkpot.record import Roster, RosterEntry
from zkpot_aggregator.config import AggregatorConfig, BrokerKind, with_credentials
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.embedded.broker import EmbeddedBroker
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.task_data import load_task_data


def check_aggregator(path: Path) -> list[Finding]:
    """Checks the configuration and everything it names."""
    try:
        config = with_credentials(load_config(AggregatorConfig, path))
    except ZkpotError as error:
        return [Finding("config", ok=False, detail=str(error), fix=f"mend {path}")]
    found = [attempt(check, config) for check in CHECKS]
    return [Finding("config", ok=True, detail=str(path)), *found]


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


CHECKS: tuple[Check[AggregatorConfig], ...] = (
    ("key", _key, "restore key_file, or make one with `zkpot-agent keygen`"),
    ("devices", _devices, "see [[devices]] in the config: each needs its own public_key"),
    ("data", _data, "see [task] in the config: dataset, batch_size and rounds"),
    ("prover", _prover, "install what it names, or choose another task.proof_system"),
    ("ledger", _ledger, "see [ledger] in the config: is the node running?"),
    ("content", _content, "see [content] in the config: is the IPFS daemon running?"),
    ("broker", _broker, "see [broker] in the config"),
)
