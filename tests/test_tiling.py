"""Tiling: the same bits in less memory, and a check that notices when they are not."""

from functools import cache

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from conftest import CORPORA, ROOT
from test_folding import randomise
from tf_keras import layers

from pipeline import params
from pipeline.audio import decode, front_end
from pipeline.errors import ModelError, ParamsError
from pipeline.mcu import tiling
from pipeline.mcu.arena import Micro
from pipeline.mcu.equality import Difference, difference
from pipeline.mcu.size import parse_size
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Features, Model, Params
from pipeline.tflite import converter, flatbuffer, graph, memory_plan
from pipeline.tflite.memory_plan import Lifetime
from pipeline.tflite.tiling import Source, TilingPlan, tile
from pipeline.tflite.tiling.rewrite import Rewrite
from pipeline.tflite.tiling.rows import PaddedRange, needs
from pipeline.tflite.tiling.search import cuts
from pipeline.tflite.windows import Axis, same_padding

EQUAL = Difference(0, 0, 0, 0)
AMPLE = 1 << 22
BINS = 12
PAPER = (32, 64, 96, 128, 160, 320)  # filters of the stem's paths, the four blocks, the head


def inputs(frames: int, clips: int = 6, bins: int = BINS) -> np.ndarray:
    """Every value that int8 has, the outermost most often, as where a clip is limited."""
    x = np.random.default_rng(1).normal(0, 5, (clips, frames, bins, 1))
    return x.clip(-10, 10).astype(np.float32)


def int8(model: tf_keras.Model) -> bytes:
    """By TensorFlow itself, for some of the models here have operators that the pipeline's do not."""
    x = inputs(model.input_shape[1], bins=model.input_shape[2])
    convert = tf.lite.TFLiteConverter.from_keras_model(model)
    convert.optimizations = [tf.lite.Optimize.DEFAULT]
    convert.inference_input_type = convert.inference_output_type = tf.int8
    convert.representative_dataset = lambda: ([clip[None]] for clip in x)
    convert.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return convert.convert()


@cache
def family(
    frames: int, classes: int = 7, filters: tuple[int, ...] = (4, 4, 6, 8, 8, 12), bins: int = BINS
) -> bytes:
    """A network of the family, quantized after training that it never had."""
    stem, *body, head = filters
    widths = Model(
        members=1,
        stem_filters=stem,
        stem_pool=[2, 2],
        body="standard",
        body_filters=body,
        head_filters=head,
        dropout=0,
        l2=0,
        bn_momentum=0.9,
    )
    model = lightsernet.build(frames, bins, classes, widths)
    randomise(model)
    return int8(classifier_as_convolution(fold(model)))


@cache
def other(kind: str) -> bytes:
    """Networks with other kernels, strides, pools and operators."""
    x = start = layers.Input((53, BINS, 1))
    if kind == "depthwise":
        x = layers.Conv2D(6, (5, 3), strides=(2, 1), padding="same", activation="relu")(x)
        x = layers.DepthwiseConv2D((7, 3), padding="same", activation="relu6")(x)
        x = layers.Conv2D(8, 1, activation="relu")(x)
        x = layers.MaxPooling2D((3, 2), padding="valid")(x)
    elif kind == "residual":
        x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(6, (3, 3), padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.AveragePooling2D((2, 2), padding="same")(x)
    elif kind == "dilated":
        x = layers.Conv2D(6, (3, 3), padding="same", activation="relu")(x)
        x = layers.Conv2D(6, (4, 2), padding="valid", activation="relu")(x)
        x = layers.AveragePooling2D((2, 3), padding="same")(x)
    elif kind == "overlapping pool":
        x = layers.Conv2D(6, (2, 2), padding="same", activation="relu")(x)
        x = layers.MaxPooling2D((3, 3), strides=(2, 2), padding="valid")(x)
    x = layers.Conv2D(8, (3, 3), padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Softmax()(layers.Flatten()(layers.Conv2D(4, 1)(x)))
    model = tf_keras.Model(start, x)
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    content = int8(model)
    if kind == "dilated":  # the converter would write operators of its own around it
        edited = flatbuffer.unpack(content)
        edited.subgraphs[0].operators[0].builtinOptions.dilationHFactor = 3
        content = flatbuffer.pack(edited)
    return content


def even(length: int, slabs: int) -> tuple[int, ...]:
    return tuple(length * (k + 1) // slabs - length * k // slabs for k in range(slabs))


def some_plan(
    content: bytes, cut: int, slabs: int, pace: int | None = None, every: int = 1, keep: int = 0
) -> TilingPlan:
    """A plan by the place of its tensors among those where the model can be cut."""
    source = Source(content)
    until = cuts(source)[cut]
    setter = until if pace is None else cuts(source)[pace]
    overlaps = source.overlaps(source.region(until))
    return TilingPlan(
        until, setter, even(source.length(setter), slabs), every, tuple(overlaps[keep:])
    )


def compared(content: bytes, plan: TilingPlan) -> Difference:
    """In the smallest arena in which the tiled model works."""
    tiled = tile(content, plan)
    frames, bins = graph.read(content).tensors[graph.read(content).inputs[0]].shape[1:3]
    arena = tiling.measure(tiled).arena.bytes
    return difference(content, tiled, inputs(frames, bins=bins), arena)


@pytest.mark.parametrize(
    ("frames", "classes", "cut", "slabs", "keep"),
    [(64, 4, 1, 2, 0), (64, 4, 2, 4, 9), (61, 7, 2, 5, 1), (61, 7, 1, 12, 0), (57, 8, 3, 4, 0), (57, 8, 1, 15, 1)],
)  # fmt: skip
def test_a_tiled_network_equals_the_plain_one_to_the_bit(
    frames: int, classes: int, cut: int, slabs: int, keep: int
) -> None:
    content = family(frames, classes)
    assert compared(content, some_plan(content, cut, slabs, keep=keep)) == EQUAL


@pytest.mark.parametrize(
    ("slabs", "every", "keep"), [(7, 3, 0), (11, 4, 1), (14, 14, 0), (5, 2, 2)]
)
def test_later_blocks_that_run_less_often_compute_the_same(
    slabs: int, every: int, keep: int
) -> None:
    content = family(61)
    assert compared(content, some_plan(content, 2, slabs, 0, every, keep)) == EQUAL


@pytest.mark.parametrize("kind", ["depthwise", "residual", "dilated", "overlapping pool"])
@pytest.mark.parametrize("slabs", [2, 5])
def test_other_kernels_strides_pools_and_operators_are_tiled_to_the_bit(
    kind: str, slabs: int
) -> None:
    content = other(kind)
    for keep in (0, 1):
        assert compared(content, some_plan(content, -1, slabs, keep=keep)) == EQUAL


def shifted(content: bytes) -> bytes:
    """The model with its last cut of rows one row too early."""
    model = flatbuffer.unpack(content)
    subgraph = model.subgraphs[0]
    read = graph.read(content)
    for step in reversed(range(len(read.operators))):
        if read.operators[step].name == "SLICE":
            begin = read.operators[step].inputs[1]
            rows = np.frombuffer(
                model.buffers[subgraph.tensors[begin].buffer].data.tobytes(), "<i4"
            ).copy()
            if rows[1] > 0:
                break
    rows[1] -= 1
    model.buffers.append(schema.BufferT(data=rows.view(np.uint8)))
    subgraph.tensors.append(
        schema.TensorT(shape=np.array([4], np.int32), type=schema.TensorType.INT32, buffer=len(model.buffers) - 1)
    )  # fmt: skip
    operator = subgraph.operators[step]
    operator.inputs = operator.inputs.copy()
    operator.inputs[1] = len(subgraph.tensors) - 1
    memory_plan.attach(model, {**memory_plan.read(content)})
    return flatbuffer.pack(model)


@pytest.mark.parametrize("cut", [1, 2])
def test_rows_that_are_one_row_off_are_noticed(cut: int) -> None:
    content = family(61)
    tiled = tile(content, some_plan(content, cut, 4))
    found = difference(content, shifted(tiled), inputs(61), AMPLE)
    assert found.inner_micro > 0
    assert found.inner_litert > 0


def test_a_border_padded_with_another_number_than_zero_is_noticed() -> None:
    content = family(61)
    source = Source(content)
    model = Rewrite(source, some_plan(content, 1, 4)).model()
    # PAD writes the zero point of its output: another one there is another border.
    pads = [o for o in model.subgraphs[0].operators if o.builtinOptionsType == schema.BuiltinOptions.PadOptions]  # fmt: skip
    for pad in pads:
        tensor = model.subgraphs[0].tensors[pad.outputs[0]]
        plain = tensor.quantization
        tensor.quantization = schema.QuantizationParametersT(
            scale=plain.scale, zeroPoint=plain.zeroPoint + 20
        )
    assert pads
    found = difference(content, flatbuffer.pack(model), inputs(61), AMPLE)
    assert found.inner_micro > 0


def overlapping(lives: list[Lifetime], offsets: dict[int, int]) -> bool:
    """Whether two tensors are in one byte at one time, by painting each into a map of both."""
    size = max(offsets[life.tensor] + life.bytes for life in lives)
    seen = np.zeros((1 + max(life.last for life in lives), size), bool)
    for life in lives:
        start = offsets[life.tensor]
        place = seen[life.first : life.last + 1, start : start + life.bytes]
        if place.any():
            return True
        place[:] = True
    return False


def test_tflite_micro_keeps_to_the_memory_plan_and_litert_ignores_it() -> None:
    content = family(61)
    plan = some_plan(content, 2, 6)
    graph_of_it = Rewrite(Source(content), plan).graph
    lives = memory_plan.lifetimes(graph_of_it)
    tiled = tile(content, plan)
    planned = memory_plan.read(tiled)
    assert planned is not None
    assert not overlapping(lives, planned)
    top = max(planned[life.tensor] + life.bytes for life in lives)
    assert Micro(tiled, AMPLE).allocations()["activations"] == top
    # Two tensors that exist at a time, in one place: wrong on the device and nowhere else.
    model = flatbuffer.unpack(tiled)
    here, there = next(
        (a.tensor, b.tensor)
        for a in lives
        for b in lives
        if a.first == b.first - 1 and a.last > b.last > b.first and a.bytes > 200
    )
    broken = {**planned, there: planned[here]}
    assert overlapping(lives, broken)
    memory_plan.attach(model, broken)
    found = difference(content, flatbuffer.pack(model), inputs(61), AMPLE)
    assert found.inner_micro > 0
    assert found.inner_litert == 0


def test_lifetimes_and_live_bytes_are_those_counted_by_hand() -> None:
    tensor = graph.Tensor
    read = graph.Graph(
        [
            tensor("in", (1, 10), "INT8", False),
            tensor("weights", (99,), "INT8", True),
            tensor("a", (1, 40), "INT8", False),
            tensor("b", (1, 33), "INT8", False),
            tensor("out", (1, 5), "INT8", False),
        ],
        [
            graph.Operator("CONV_2D", (0, 1), (2,)),
            graph.Operator("RELU", (2,), (3,)),
            graph.Operator("ADD", (2, 3), (4,)),
        ],
        (0,),
        (4,),
    )
    lives = memory_plan.lifetimes(read)
    assert lives == [
        Lifetime(0, 16, 0, 0), Lifetime(2, 48, 0, 2), Lifetime(3, 48, 1, 2), Lifetime(4, 16, 2, 2),
    ]  # fmt: skip
    assert memory_plan.live_bytes(lives) == 48 + 48 + 16
    assert memory_plan.layout(lives).bytes == 112


def test_a_memory_plan_overlaps_nowhere_and_is_no_larger_than_tflite_micros_own() -> None:
    content = family(61)
    for slabs in (3, 8, 15):
        rewrite = Rewrite(Source(content), some_plan(content, 2, slabs, 0, 2))
        lives = memory_plan.lifetimes(rewrite.graph)
        found = memory_plan.layout(lives)
        assert not overlapping(lives, found.offsets)
        assert memory_plan.live_bytes(lives) <= found.bytes
        own = Micro(flatbuffer.pack(rewrite.model()), AMPLE).allocations()["activations"]
        assert found.bytes <= own


def test_overlapping_sees_two_tensors_in_one_place() -> None:
    lives = [Lifetime(0, 32, 0, 3), Lifetime(1, 16, 2, 4), Lifetime(2, 16, 5, 6)]
    assert not overlapping(lives, {0: 0, 1: 32, 2: 0})
    assert overlapping(lives, {0: 0, 1: 16, 2: 0})


def buffer_offsets(content: bytes) -> list[int]:
    """Where in the file the bytes of each buffer that has some begin."""
    model = schema.Model.GetRootAs(content)
    found = []
    for number in range(model.BuffersLength()):
        table = model.Buffers(number)._tab
        field = table.Offset(4)
        if field and model.Buffers(number).DataLength():
            found.append(table.Vector(field))
    return found


def test_weights_lie_on_multiples_of_16_bytes_and_are_there_once() -> None:
    content = family(61)
    tiled = tile(content, some_plan(content, 2, 12))
    assert {offset % 16 for offset in buffer_offsets(tiled)} == {0}
    # The schema's own writer does not see to it.
    model = flatbuffer.unpack(tiled)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert {offset % 16 for offset in buffer_offsets(bytes(builder.Output()))} != {0}
    assert len(tiled) < len(builder.Output())

    def convolutions(read: graph.Graph) -> set[int]:
        return {o.inputs[1] for o in read.operators if o.name == "CONV_2D"}

    before, after = graph.read(content), graph.read(tiled)
    assert len(convolutions(after)) == len(convolutions(before))
    assert after.histogram()["CONV_2D"] > 3 * before.histogram()["CONV_2D"]


def test_the_same_plan_gives_the_same_bytes() -> None:
    content = family(61)
    plan = some_plan(content, 2, 5, 0, 2)
    assert tile(content, plan) == tile(content, plan)
    first, second = (tiling.with_slabs(content, 4) for _ in range(2))
    assert first == second


def test_no_concatenation_has_more_inputs_than_tflite_micro_takes() -> None:
    content = family(61)
    tiled = graph.read(tile(content, some_plan(content, 1, 16)))
    assert max(len(o.inputs) for o in tiled.operators if o.name == "CONCATENATION") == 10


def test_keeping_rows_costs_no_macs_and_computing_them_again_does() -> None:
    content = family(64)
    macs = graph.read(content).macs()
    source = Source(content)
    kept, again = (Rewrite(source, some_plan(content, 1, 4, keep=keep)).graph.macs() for keep in (0, 1))  # fmt: skip
    assert kept == macs
    # Of the stem, 2 of the 8 rows before its pools for each of 3 borders are in two slabs.
    stem = 64 * BINS * 4 * (11 + 9 + 9)
    assert again - macs == stem * 3 * 4 // 64


def test_a_model_that_fits_stays_as_it_is() -> None:
    content = family(61)
    arena = tiling.measure(content).arena.bytes
    kept = tiling.auto(content, arena)
    assert (kept.content, kept.plan, kept.slabs) == (content, None, 1)
    assert tiling.untouched(content) == tiling.with_slabs(content, 1) == kept
    # In slabs this small network needs more: their operators outweigh its tensors.
    assert tiling.with_slabs(content, 2).costs.arena.bytes > arena
    assert tiling.auto(content, arena - 16).plan is None


@cache
def smallest() -> tiling.Tiled:
    """The paper's network where nothing fits."""
    return tiling.auto(family(184, 7, PAPER, 40), 1)


def test_where_nothing_fits_the_arena_is_the_smallest() -> None:
    content = family(184, 7, PAPER, 40)
    tiled = smallest()
    assert 1 < tiled.costs.arena.bytes < tiled.plain.arena.bytes // 3
    asked = tiling.with_slabs(content, 4)
    assert asked.slabs == 4
    assert asked.costs.arena.bytes > tiled.costs.arena.bytes


def test_where_much_fits_no_more_is_done_than_has_to_be() -> None:
    content = family(184, 7, PAPER, 40)
    limit = smallest().plain.arena.bytes * 3 // 4
    tiled = tiling.auto(content, limit)
    assert tiled.costs.arena.bytes <= limit
    assert tiled.costs.macs == tiled.plain.macs == graph.read(content).macs()
    assert 1 < tiled.slabs < smallest().slabs
    assert len(tiled.content) < len(smallest().content)


def test_the_table_has_before_and_after() -> None:
    content = family(64)
    tiled = tiling.with_slabs(content, 3)
    table = {what: (before, after) for what, before, after in tiled.table()}
    assert table["slabs"] == ("1", "3")
    assert table["arena (bytes)"] == (
        f"{tiled.plain.arena.bytes:,}",
        f"{tiled.costs.arena.bytes:,}",
    )
    assert table["flatbuffer (bytes)"] == (f"{len(content):,}", f"{len(tiled.content):,}")


def side_by_side(x: object) -> object:
    """Two trunks that meet behind their convolutions."""
    trunks = [layers.AveragePooling2D(2)(layers.Conv2D(3, 3, padding="same")(x)) for _ in range(2)]
    return layers.Flatten()(layers.Concatenate()(trunks))


def quantized(build: object) -> bytes:
    x = layers.Input((32, BINS, 1))
    return int8(tf_keras.Model(x, build(x)))  # type: ignore[operator]


REFUSED = {
    "TRANSPOSE is not known to keep time apart": lambda x: layers.Flatten()(
        layers.Conv2D(3, 3)(layers.Permute((2, 1, 3))(x))
    ),
    "CONCATENATION joins": lambda x: layers.Flatten()(
        layers.Conv2D(3, 3)(layers.Concatenate(axis=1)([layers.Conv2D(1, 1)(x), x]))
    ),
    "has no convolution over time": lambda x: layers.Dense(3)(layers.Flatten()(x)),
    "before its last convolution no tensor": lambda x: layers.Flatten()(layers.Conv2D(3, 3)(x)),
    "as where networks stand side by side": side_by_side,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_tiled_is_refused_with_the_reason(reason: str) -> None:
    content = quantized(REFUSED[reason])
    with pytest.raises(ModelError, match=reason):
        tiling.auto(content, 1)


def test_a_float_model_and_another_file_are_refused() -> None:
    model = tf_keras.Sequential([layers.Input((32, BINS, 1)), layers.Conv2D(3, 3)])
    with pytest.raises(ModelError, match="is FLOAT32, expected an INT8 model"):
        tiling.auto(converter.to_float(model), 1)
    with pytest.raises(ModelError, match="not a TFLite model"):
        tiling.auto(b"RIFF0000WAVE", 1)


def test_two_subgraphs_are_refused() -> None:
    model = flatbuffer.unpack(family(61))
    builder = flatbuffers.Builder(1 << 16)
    model.subgraphs.append(model.subgraphs[0])
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ModelError, match="has 2 subgraphs, expected 1"):
        tiling.with_slabs(bytes(builder.Output()), 2)


@pytest.mark.parametrize(("slabs", "said"), [(0, "expected 1 or more"), (1000, "too few rows")])
def test_a_number_of_slabs_that_cannot_be_is_refused(slabs: int, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        tiling.with_slabs(family(61), slabs)


def test_two_different_models_are_no_rewrites_of_each_other() -> None:
    with pytest.raises(ModelError, match="the two models differ in"):
        difference(family(61), family(57, 8), inputs(61), AMPLE)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "padding"),
    [(10, 3, 1, (1, 1)), (10, 2, 1, (0, 1)), (7, 2, 2, (0, 1)), (8, 2, 2, (0, 0)), (9, 5, 2, (2, 2)), (9, 1, 3, (0, 0))],
)  # fmt: skip
def test_same_padding_is_tensorflows(
    length: int, kernel: int, stride: int, padding: tuple[int, int]
) -> None:
    assert same_padding(length, kernel, stride) == padding
    # TensorFlow shows it: the mean over valid elements only tells how many there are.
    x = np.arange(1.0, length + 1, dtype=np.float32)[None, :, None, None]
    pool = layers.AveragePooling2D((kernel, 1), strides=(stride, 1), padding="same")
    axis = Axis(kernel, stride, 1, *padding)
    pieces = [needs(axis, i, i + 1, length) for i in range(-(-length // stride))]
    means = [np.mean(np.arange(p.start + 1, p.end + 1)) for p in pieces]
    np.testing.assert_allclose(pool(x).numpy().ravel(), means, rtol=1e-6)


def test_a_piece_at_the_border_has_padding_and_one_inside_has_none() -> None:
    axis = Axis(kernel=11, stride=1, dilation=1, before=5, after=5)
    assert needs(axis, 0, 4, 20) == PaddedRange(0, 9, 5, 0)
    assert needs(axis, 8, 12, 20) == PaddedRange(3, 17, 0, 0)
    assert needs(axis, 16, 20, 20) == PaddedRange(11, 20, 0, 5)


@pytest.mark.parametrize(
    ("text", "size"),
    [("131072", 131_072), ("128KB", 131_072), ("128 kb", 131_072), ("1.5MB", 1_572_864), ("0.5KiB", 512), ("7B", 7)],
)  # fmt: skip
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KB", "12GBit", "-3", "1.5", "0", "0KB", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match=r"is no size of memory|expected a whole number"):
        parse_size(text)


def test_a_fine_tuned_model_is_tiled_to_the_bit(toy: Params) -> None:
    from test_int8 import X, tune

    content = converter.to_int8(tune(toy))
    tiled = tiling.with_slabs(content, 5)
    assert difference(content, tiled.content, X, tiled.costs.arena.bytes) == EQUAL


@pytest.mark.parametrize(
    ("frames", "ram_bytes"), [(184, 131_072), (434, 196_608)], ids=["3 s", "7 s"]
)
def test_the_papers_network_fits_where_it_did_not(frames: int, ram_bytes: int) -> None:
    content = family(frames, 7, PAPER, 40)
    tiled = tiling.auto(content, ram_bytes)
    assert tiled.plain.arena.bytes > 3 * ram_bytes
    assert tiled.costs.arena.bytes <= ram_bytes
    assert tiled.costs.macs <= 1.03 * tiled.plain.macs
    assert len(tiled.content) - len(content) <= 24 * 1024
    x = inputs(frames, 1, 40)
    assert difference(content, tiled.content, x, tiled.costs.arena.bytes) == EQUAL


@pytest.mark.skipif(not CORPORA.is_dir(), reason="no real recordings beside the project")
def test_real_recordings_give_the_same_bits() -> None:
    files = sorted((CORPORA / "emodb" / "wav").glob("*.wav"))[::200]
    p: Features = params.load(ROOT / "params.yaml").features
    x = np.stack(
        [front_end.features(decode.decode(file, 16_000), 3, 16_000, p)[..., None] for file in files]
    )
    content = family(184, 7, PAPER, 40)
    tiled = tiling.with_slabs(content, 7)
    assert len(x) > 1
    assert difference(content, tiled.content, x, tiled.costs.arena.bytes) == EQUAL
