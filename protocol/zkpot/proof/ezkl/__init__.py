"""Proof system `ezkl/1`: the count as a halo2/KZG circuit over BN254, made by ezkl.

One key serves every device, round and batch of a shape, because model and batch are
inputs of the circuit. The circuit does not bound theta: this system is for plain
aggregation only, where openings are range-checked. ezkl has no open-source licence and is
an optional dependency.
"""
