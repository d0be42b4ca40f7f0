"""An int8 network as a few small ones with line buffers between them, equal to it bit for bit.

The network is convolutions, pools and one average over time, so it can run while frames arrive.
It is cut before each layer that sees more than one row; a part makes one row a step. A part's
input is laid out so that borders need no operator of their own: the windows of a layer stand one
below the other, and its stride along time becomes the height of a window, so that nothing is
padded along time inside. What pads lies in the line buffers' reading: the zero point, or, for a
pool at the edge, the rows that exist, repeated.
"""

from collections import defaultdict
from dataclasses import dataclass

from pipeline.tflite.graph import CONVOLUTIONS, POOLS
from pipeline.tflite.streaming.layout import OperatorGroup, Partition
from pipeline.tflite.streaming.network import Network, Operator
from pipeline.tflite.streaming.parts import Writer
from pipeline.tflite.streaming.plan import PartInput, StreamingPlan

# A pool at an odd height can stay with its convolution if that computes its last row twice. This
# share of the multiply-accumulates is let go for it: it is worth it in the stem only.
EXTRA_MACS = 0.0005


@dataclass(frozen=True)
class Streamed:
    """A network in parts.

    parts : a flatbuffer for each part of the plan
    head : the flatbuffer of what follows the average over time
    plain_macs : multiply-accumulates of the undivided network
    macs : of all steps of a clip and one run of the head
    """

    plan: StreamingPlan
    parts: tuple[bytes, ...]
    head: bytes
    plain_macs: int
    macs: int

    @property
    def flash_bytes(self) -> int:
        return sum(map(len, self.parts)) + len(self.head)


def split(content: bytes) -> Streamed:
    """Divide an int8 flatbuffer into parts.

    Raises
    ------
    ModelError
        The network cannot be streamed; the message says why.
    """
    network = Network(content)
    layout = _choose(network)
    return Streamed(
        plan=layout.plan,
        parts=tuple(_write(network, layout, piece) for piece in layout.pieces),
        head=_write_head(network),
        plain_macs=network.macs + network.head_macs(),
        macs=layout.plan.macs + network.head_macs(),
    )


def _choose(network: Network) -> Partition:
    """Cut where one must, and elsewhere where it saves memory."""
    readers = defaultdict(list)
    for op in network.body:
        for tensor in op.inputs:
            readers[tensor].append(op)
    everywhere = {network.input} | {int(network.graph.operators[network.mean].inputs[0])}
    optional: dict[int, set[int]] = defaultdict(set)  # by the piece that they would join
    for op in network.body:
        for tensor in op.inputs:
            if op.rows.one_to_one and len(readers[tensor]) == 1:
                continue
            everywhere.add(tensor)
            if op.is_pool and tensor != network.input and len(readers[tensor]) == 1:
                optional[_follow(network, op, readers)].add(tensor)
    layout = Partition(network, frozenset(everywhere))
    limit = int(network.macs * (1 + EXTRA_MACS))
    while True:
        candidates = [Partition(network, layout.cuts - group) for group in optional.values()]
        allowed = [c for c in candidates if _is_exact(c) and c.plan.macs <= limit]
        best = min(allowed, key=Partition.bytes, default=layout)
        if best.bytes() >= layout.bytes():
            return layout
        layout = best


def _follow(network: Network, op: Operator, readers: dict[int, list[Operator]]) -> int:
    """The tensor in which the rows of `op` leave its piece."""
    output = op.output
    while len(readers[output]) == 1 and readers[output][0].rows.one_to_one:
        output = readers[output][0].output
    return output


def _is_exact(layout: Partition) -> bool:
    """Whether the pools that run in one part with what comes before them give the same bits there.

    Each window must have rows of its own, all of them there. In the last one a single row may
    stand for all, since the part then makes it as often, unless it makes other rows in that step.
    """
    for piece in layout.pieces:
        for op in piece.operators:
            if not op.is_pool or op.inputs[0] in layout.cuts:
                continue
            rows = op.rows
            if rows.kernel != rows.stride or rows.before:
                return False
            height = layout.network.height(op.inputs[0])
            last = height - (layout.network.height(op.output) - 1) * rows.stride
            if last < rows.kernel and not (last == 1 and piece.rows[op.output] == 1):
                return False
    return True


def _write(network: Network, layout: Partition, piece: OperatorGroup) -> bytes:
    writer = Writer(network.model)
    numbers = {line.tensor: n for n, line in enumerate(layout.plan.lines)}
    reads = dict(layout.reads(piece, numbers))
    inputs: dict[PartInput, int] = {}
    made: dict[int, int] = {}
    for (_, tensor), read in reads.items():
        if read not in inputs:
            inputs[read] = _tensor(network, writer, tensor, read.windows * read.rows)
    for op in piece.operators:
        source = network.graph.operators[op.number]
        taken = []
        for tensor in map(int, source.inputs):
            if (op.number, tensor) in reads:
                taken.append(inputs[reads[op.number, tensor]])
            elif tensor in made:
                taken.append(made[tensor])
            else:
                taken.append(writer.tensor(tensor) if tensor >= 0 else -1)
        made[op.output] = _tensor(network, writer, op.output, piece.rows[op.output])
        operator = writer.operator(op.number, taken, made[op.output])
        options = operator.builtinOptions
        if op.name in CONVOLUTIONS:
            options.strideH, options.dilationHFactor = op.rows.kernel, 1
        elif op.name in POOLS:
            read_from_line = (op.number, op.inputs[0]) in reads
            rows = reads[op.number, op.inputs[0]].rows if read_from_line else op.rows.kernel
            options.filterHeight = options.strideH = rows
    return writer.finish(list(inputs.values()), made[piece.output])


def _tensor(network: Network, writer: Writer, number: int, rows: int) -> int:
    _, _, columns, channels = network.shape(number)
    return writer.tensor(number, (1, rows, columns, channels))


def _write_head(network: Network) -> bytes:
    writer = Writer(network.model)
    average = int(network.graph.operators[network.mean].outputs[0])
    made = {average: writer.tensor(average)}
    for number in network.head:
        source = network.graph.operators[number]
        taken = []
        for tensor in map(int, source.inputs):
            if tensor >= 0 and tensor not in made:
                made[tensor] = writer.tensor(tensor)
            taken.append(made[tensor] if tensor >= 0 else -1)
        output = int(source.outputs[0])
        made[output] = writer.tensor(output)
        writer.operator(number, taken, made[output])
    return writer.finish([made[average]], made[network.output])
