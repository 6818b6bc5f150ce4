# pragma version 0.4.3
# pragma evm-version paris
# pragma optimize gas
"""
@title zkpot ledger
@license Apache-2.0
@notice One chain of record digests per federated task, and the beacon of every round.

Storage and gas per round do not depend on the number of devices: only digests, roots,
counts and the leader stand here. Rules:

1. Only a task's operator advances it, but `draw_beacon` is open to anyone.
2. A round opens when the one before has ended, and names the task's head as its parent.
3. The seal fixes the height whose block hash makes the beacon; after 256 blocks without a
   draw the round can only fail.
4. Closing moves the head to the round's record. Failing leaves it.
5. Validators vote once per closed round. A quorum of attestations makes it final; a quorum
   of rejections moves the head back, while nothing has been built on the round.

A revert carries one stable word, part of the interface.
"""

# A bitmap of votes and a loop over the validators have to stay small.
MAX_VALIDATORS: constant(uint256) = 32
# A week of 12 s blocks; keeps heights far from overflow.
MAX_DRAW_DELAY: constant(uint256) = 50400
# The EVM forgets older block hashes.
BLOCKHASH_WINDOW: constant(uint256) = 256

# Phases of a round. A number is never given another meaning.
NEVER_OPENED: constant(uint256) = 0
OPEN: constant(uint256) = 1
SEALED: constant(uint256) = 2
DRAWN: constant(uint256) = 3
CLOSED: constant(uint256) = 4
FAILED: constant(uint256) = 5
FINAL: constant(uint256) = 6
REJECTED: constant(uint256) = 7

struct Task:
    operator: address
    draw_delay: uint256
    quorum: uint256
    # Number of the last round ever opened, 0 before the first.
    last_round: uint256
    # The last good record, and the round that made it: 0 while it is the task's own digest.
    head: bytes32
    head_round: uint256

struct Round:
    phase: uint256
    parent: bytes32
    parent_round: uint256
    roster_root: bytes32
    root: bytes32
    count: uint256
    # The seal's block is draw_height - draw_delay of the task.
    draw_height: uint256
    beacon: bytes32
    record: bytes32
    leader: bytes32
    correct: uint256
    total: uint256
    fail_reason: uint256
    # Bit i stands for the task's validator i.
    attested: uint256
    rejected: uint256

event TaskCreated:
    task: indexed(bytes32)
    operator: address
    draw_delay: uint256
    validators: DynArray[address, MAX_VALIDATORS]
    quorum: uint256

event RoundOpened:
    task: indexed(bytes32)
    round: indexed(uint256)
    parent: bytes32
    roster_root: bytes32

event CommitmentsSealed:
    task: indexed(bytes32)
    round: indexed(uint256)
    root: bytes32
    count: uint256
    draw_height: uint256

event BeaconDrawn:
    task: indexed(bytes32)
    round: indexed(uint256)
    draw_height: uint256
    block_hash: bytes32
    beacon: bytes32

event RoundClosed:
    task: indexed(bytes32)
    round: indexed(uint256)
    record: bytes32
    leader: bytes32
    correct: uint256
    total: uint256

event RoundFailed:
    task: indexed(bytes32)
    round: indexed(uint256)
    phase: uint256
    reason: uint256

event RoundAttested:
    task: indexed(bytes32)
    round: indexed(uint256)
    record: bytes32
    validator: address
    final: bool

event RoundRejected:
    task: indexed(bytes32)
    round: indexed(uint256)
    record: bytes32
    validator: address
    final: bool

tasks: HashMap[bytes32, Task]
rounds: HashMap[bytes32, HashMap[uint256, Round]]
validators: HashMap[bytes32, DynArray[address, MAX_VALIDATORS]]
# One more than the validator's place in the list, 0 for everybody else.
places: HashMap[bytes32, HashMap[address, uint256]]


@external
def create_task(
    task: bytes32, draw_delay: uint256, validators: DynArray[address, MAX_VALIDATORS], quorum: uint256
):
    """
    @notice Registers a task under its manifest digest; the sender becomes its operator.
    @dev Reverts: zero, exists, delay, quorum, validators.
    """
    assert task != empty(bytes32), "zero"
    assert self.tasks[task].operator == empty(address), "exists"
    assert 1 <= draw_delay and draw_delay <= MAX_DRAW_DELAY, "delay"
    assert quorum <= len(validators) and (quorum == 0) == (len(validators) == 0), "quorum"
    place: uint256 = 0
    for validator: address in validators:
        assert validator != empty(address) and self.places[task][validator] == 0, "validators"
        place += 1
        self.places[task][validator] = place
    self.validators[task] = validators
    self.tasks[task] = Task(
        operator=msg.sender,
        draw_delay=draw_delay,
        quorum=quorum,
        last_round=0,
        head=task,
        head_round=0,
    )
    log TaskCreated(
        task=task, operator=msg.sender, draw_delay=draw_delay, validators=validators, quorum=quorum
    )


@external
def open_round(task: bytes32, round: uint256, parent: bytes32, roster_root: bytes32):
    """
    @notice Opens the next round on top of the task's head.
    @dev Reverts: operator, round, unfinished, parent, zero.
    """
    assert msg.sender == self.tasks[task].operator, "operator"
    last: uint256 = self.tasks[task].last_round
    assert round == last + 1, "round"
    assert not self._unfinished(self.rounds[task][last].phase), "unfinished"
    assert parent == self.tasks[task].head, "parent"
    assert roster_root != empty(bytes32), "zero"
    self.tasks[task].last_round = round
    self.rounds[task][round].phase = OPEN
    self.rounds[task][round].parent = parent
    self.rounds[task][round].parent_round = self.tasks[task].head_round
    self.rounds[task][round].roster_root = roster_root
    log RoundOpened(task=task, round=round, parent=parent, roster_root=roster_root)


@external
def seal_commitments(task: bytes32, round: uint256, root: bytes32, count: uint256):
    """
    @notice Fixes the list of commitments, and with it the height that makes the beacon.
    @dev Reverts: operator, phase, zero.
    """
    assert msg.sender == self.tasks[task].operator, "operator"
    assert self.rounds[task][round].phase == OPEN, "phase"
    assert root != empty(bytes32) and count != 0, "zero"
    draw_height: uint256 = block.number + self.tasks[task].draw_delay
    self.rounds[task][round].phase = SEALED
    self.rounds[task][round].root = root
    self.rounds[task][round].count = count
    self.rounds[task][round].draw_height = draw_height
    log CommitmentsSealed(task=task, round=round, root=root, count=count, draw_height=draw_height)


@external
def draw_beacon(task: bytes32, round: uint256):
    """
    @notice Stores the beacon: keccak256 of six 32-byte big-endian words, 192 bytes:
        chain id, address of this contract (left-padded with zeros), task, round, root of the
        sealed commitments, hash of the block at draw_height. Anyone may call.
    @dev Reverts: phase, early, expired.
    """
    assert self.rounds[task][round].phase == SEALED, "phase"
    draw_height: uint256 = self.rounds[task][round].draw_height
    assert block.number > draw_height, "early"
    assert block.number - draw_height <= BLOCKHASH_WINDOW, "expired"
    block_hash: bytes32 = blockhash(draw_height)
    beacon: bytes32 = keccak256(
        concat(
            convert(chain.id, bytes32),
            convert(self, bytes32),
            task,
            convert(round, bytes32),
            self.rounds[task][round].root,
            block_hash,
        )
    )
    self.rounds[task][round].phase = DRAWN
    self.rounds[task][round].beacon = beacon
    log BeaconDrawn(
        task=task, round=round, draw_height=draw_height, block_hash=block_hash, beacon=beacon
    )


@external
def close_round(
    task: bytes32, round: uint256, record: bytes32, leader: bytes32, correct: uint256, total: uint256
):
    """
    @notice Commits the round's record, which becomes the task's head.
    @dev Reverts: operator, phase, zero, count.
    """
    assert msg.sender == self.tasks[task].operator, "operator"
    assert self.rounds[task][round].phase == DRAWN, "phase"
    assert record != empty(bytes32) and leader != empty(bytes32), "zero"
    assert correct <= total and total != 0, "count"
    self.rounds[task][round].phase = CLOSED
    self.rounds[task][round].record = record
    self.rounds[task][round].leader = leader
    self.rounds[task][round].correct = correct
    self.rounds[task][round].total = total
    self.tasks[task].head = record
    self.tasks[task].head_round = round
    log RoundClosed(
        task=task, round=round, record=record, leader=leader, correct=correct, total=total
    )


@external
def fail_round(task: bytes32, round: uint256, reason: uint256):
    """
    @notice Ends an unfinished round without a record; the head stays.
    @dev Reverts: operator, phase, zero.
    """
    assert msg.sender == self.tasks[task].operator, "operator"
    phase: uint256 = self.rounds[task][round].phase
    assert self._unfinished(phase), "phase"
    assert reason != 0, "zero"
    self.rounds[task][round].phase = FAILED
    self.rounds[task][round].fail_reason = reason
    log RoundFailed(task=task, round=round, phase=phase, reason=reason)


@external
def attest(task: bytes32, round: uint256, record: bytes32):
    """
    @notice A validator vouches for a closed round; at quorum the round is final.
    @dev Reverts: validator, phase, record, voted.
    """
    bit: uint256 = self._vote(task, round, record)
    votes: uint256 = self.rounds[task][round].attested | bit
    self.rounds[task][round].attested = votes
    final: bool = self._count(votes) >= self.tasks[task].quorum
    if final:
        self.rounds[task][round].phase = FINAL
    log RoundAttested(task=task, round=round, record=record, validator=msg.sender, final=final)


@external
def reject_round(task: bytes32, round: uint256, record: bytes32):
    """
    @notice A validator reports a fault; at quorum the head returns to the round's parent.
    @dev Reverts: validator, phase, record, voted, later.
    """
    bit: uint256 = self._vote(task, round, record)
    assert self.tasks[task].head_round == round, "later"
    last: uint256 = self.tasks[task].last_round
    assert not self._unfinished(self.rounds[task][last].phase), "later"
    votes: uint256 = self.rounds[task][round].rejected | bit
    self.rounds[task][round].rejected = votes
    final: bool = self._count(votes) >= self.tasks[task].quorum
    if final:
        self.rounds[task][round].phase = REJECTED
        self.tasks[task].head = self.rounds[task][round].parent
        self.tasks[task].head_round = self.rounds[task][round].parent_round
    log RoundRejected(task=task, round=round, record=record, validator=msg.sender, final=final)


@view
@external
def get_task(task: bytes32) -> (Task, DynArray[address, MAX_VALIDATORS]):
    """
    @notice The task and its validators; the operator is zero for an unknown one.
    """
    return self.tasks[task], self.validators[task]


@view
@external
def get_round(task: bytes32, round: uint256) -> Round:
    """
    @notice The round; its phase is NEVER_OPENED if it was never opened.
    """
    return self.rounds[task][round]


@internal
@view
def _vote(task: bytes32, round: uint256, record: bytes32) -> uint256:
    place: uint256 = self.places[task][msg.sender]
    assert place != 0, "validator"
    assert self.rounds[task][round].phase == CLOSED, "phase"
    assert self.rounds[task][round].record == record, "record"
    bit: uint256 = 1 << (place - 1)
    voted: uint256 = self.rounds[task][round].attested | self.rounds[task][round].rejected
    assert voted & bit == 0, "voted"
    return bit


@internal
@pure
def _unfinished(phase: uint256) -> bool:
    return phase in [OPEN, SEALED, DRAWN]


@internal
@pure
def _count(votes: uint256) -> uint256:
    total: uint256 = 0
    for i: uint256 in range(MAX_VALIDATORS):
        total += (votes >> i) & 1
    return total
