"""One round as the aggregator sees it: a pure state machine.

`machine.step` takes a state and an event and returns the next state and the effects to
carry out once that state is on disk; `machine.resume` gives the effects of a state again.
"""
