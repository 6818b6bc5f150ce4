"""`deploy`: deploys or finds the contract, and prints what belongs into the configuration."""

import json
from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.config import AggregatorConfig
from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.keyfile import load_key


def run_deploy(
    config: Path | None,
    rpc: str | None,
    key_file: Path | None,
    confirmations: int,
    *,
    json_output: bool,
) -> ExitCode:
    """Prints the deployment; raises `Fatal` (KEY) without a key, saying what would be sent."""
    if (config is None) == (rpc is None):
        raise Fatal(ExitCode.USAGE, "either --config or --rpc is needed")
    if config is not None:
        settings = load_config(AggregatorConfig, config).ledger.settings
        if settings is None:
            raise Fatal(ExitCode.CONFIG, f"{config} has no [ledger.settings]")
        url, key = settings.endpoint(), settings.key()
    else:
        assert rpc is not None
        url, key = rpc, None
    if key_file is not None:
        key = load_key(key_file)
    made = deploy(url, key, confirmations=confirmations)
    facts = {
        "chain_id": made.chain_id,
        "contract": made.address,
        "first_block": made.block,
        "code_hash": "0x" + made.code_hash.hex(),
        "fresh": made.fresh,
    }
    if json_output:
        print(json.dumps(facts))  # noqa: T201
        return ExitCode.OK
    lines = [
        f"# {'deployed now' if made.fresh else 'deployed before'}, code {facts['code_hash']}",
        "[ledger]",
        'kind = "jsonrpc"',
        "[ledger.settings]",
        f"chain_id = {made.chain_id}",
        f'contract = "{made.address}"',
        f"first_block = {made.block}",
    ]
    print("\n".join(lines))  # noqa: T201
    return ExitCode.OK
