"""Secure aggregation: sums of models that nobody sees, checked against their commitments.

Bonawitz et al.: Practical Secure Aggregation for Privacy-Preserving Machine Learning. CCS 2017
(doi 10.1145/3133956.3133982), the variant against an active aggregator.
"""
