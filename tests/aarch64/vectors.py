"""Run under emulation: the prover's vectors hold here, and a new proof is made for elsewhere."""

import json
import platform
import sys
from pathlib import Path

import zkpot_prover as native

VECTORS = Path(__file__).parents[2] / "prover" / "vectors"


def main() -> None:
    """Prints what was checked, and a proof about the model of one vector, as JSON."""
    vectors = [json.loads(path.read_text()) for path in sorted(VECTORS.glob("*.json"))]
    vectors = [vector for vector in vectors if "proof" in vector]
    made = {"machine": platform.machine(), "vectors": str(len(vectors))}
    for vector in vectors:
        shape = native.Shape(vector["dims"], vector["shifts"], vector["bias_bits"])
        theta, blinding, commitment, inputs, labels, context, wellformed, proof = (
            bytes.fromhex(vector[name])
            for name in (
                "theta",
                "blinding",
                "commitment",
                "inputs",
                "labels",
                "context",
                "wellformed",
                "proof",
            )
        )
        if native.commit(shape, theta, blinding) != commitment:
            raise SystemExit(f"{vector['name']}: another commitment")
        native.verify_wellformed(shape, commitment, context, wellformed)
        native.verify(shape, commitment, inputs, labels, context, vector["count"], proof)
        native.prove_wellformed(shape, theta, blinding, context)
        if vector["name"] == "two-layers":
            _, own = native.prove(shape, theta, blinding, inputs, labels, context)
            made |= {"proof": own.hex(), "commitment": commitment.hex()}
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    main()
