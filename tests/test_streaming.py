"""Streaming: the parts give the bits of the undivided network, in the memory that is claimed."""

import dataclasses
import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from conftest import CORPORA
from scipy.io import wavfile
from test_folding import randomise
from test_int8 import KINDS, tune
from test_int8 import folded as toy_model
from tf_keras import layers

from pipeline.audio import front_end
from pipeline.errors import ModelError
from pipeline.mcu.arena import Micro
from pipeline.mcu.stream import Differences, arena, compare, memory, micro
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Model, Params
from pipeline.tflite import converter, graph, streaming
from pipeline.tflite.flatbuffer import ALIGNMENT
from pipeline.tflite.int8 import Int8Model
from pipeline.tflite.streaming import Streamed, split
from pipeline.tflite.streaming.network import Network
from pipeline.tflite.streaming.parts import Writer
from pipeline.tflite.streaming.plan import Mean, PartInput, quantized_multiplier
from pipeline.tflite.streaming.run import StreamingInterpreter, litert

RNG = np.random.default_rng(0)
REST = {
    "members": 1,
    "stem_pool": [2, 2],
    "body": "standard",
    "dropout": 0.3,
    "l2": 1e-6,
    "bn_momentum": 0.9,
}
PAPER = Model(stem_filters=32, body_filters=[64, 96, 128, 160], head_filters=320, **REST)
SMALL = Model(stem_filters=3, body_filters=[4, 5, 6, 7], head_filters=9, **REST)


def random_clips(count: int, content: bytes) -> np.ndarray:
    """int8 noise over the whole range [shape=(count, frames, bins, 1)]."""
    shape = graph.read(content).tensors[graph.read(content).inputs[0]].shape
    return RNG.integers(-128, 128, (count, *shape[1:])).astype(np.int8)


def quantized(model: tf_keras.Model) -> bytes:
    clips = RNG.normal(0, 4, (2, *model.input_shape[1:])).clip(-10, 10).astype(np.float32)
    return converter.to_int8(model, clips)


@cache
def paper(frames: int) -> bytes:
    return light_sernet(frames, 7, PAPER)


@cache
def small(frames: int, classes: int = 5) -> bytes:
    return light_sernet(frames, classes, SMALL)


def light_sernet(frames: int, classes: int, p: Model) -> bytes:
    model = lightsernet.build(frames, 40, classes, p)
    randomise(model)
    dense = model.get_layer("emotion")
    # Probabilities that are neither 0 nor 1: a saturated softmax hides every difference before it.
    dense.set_weights([0.02 * dense.get_weights()[0], dense.get_weights()[1]])
    return quantized(classifier_as_convolution(fold(model)))


def other(*body: layers.Layer, frames: int = 37, dense: bool = False) -> bytes:
    """A network of the family that is not ours: two paths, and then `body`."""
    inputs = layers.Input((frames, 9, 1))
    paths = [
        layers.AveragePooling2D((2, 2), padding="same")(
            layers.Conv2D(3, kernel, padding="same", activation="relu")(inputs)
        )
        for kernel in ((4, 2), (1, 5))
    ]
    x = layers.Concatenate()(paths)
    for layer in body:
        x = layer(x)
    if dense:
        x = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    else:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Softmax()(layers.Flatten()(layers.Conv2D(4, 1)(x)))
    model = tf_keras.Model(inputs, x)
    model.set_weights([RNG.normal(0, 0.4, w.shape) for w in model.get_weights()])
    return quantized(model)


def same(count: int) -> Differences:
    return Differences(count, outputs=0, rows=0)


@pytest.mark.parametrize(("frames", "limit"), [(184, 65_536), (434, 98_304)])
def test_the_papers_network_streams_within_the_limit_and_gives_the_same_bits(
    frames: int, limit: int
) -> None:
    content = paper(frames)
    streamed = split(content)
    found = memory(streamed)
    assert found.total <= limit
    # What TFLite Micro counts of each part, where memory is ample, with a row of 40 bins.
    counted = [Micro(part, 1 << 20).allocations() for part in (*streamed.parts, streamed.head)]
    held = max(part["activations"] for part in counted) + sum(
        part["persistent"] for part in counted
    )
    assert found.total - streamed.plan.line_bytes - 40 == pytest.approx(held, abs=4096)
    assert found.macs == found.plain_macs == graph.read(content).macs()
    assert found.flash_bytes <= len(content) + 2048
    assert compare(content, streamed, random_clips(1, content)) == same(1)
    assert compare(content, streamed, random_clips(1, content), litert) == same(1)


def test_memory_hardly_depends_on_the_clips_length() -> None:
    short, long = (memory(split(paper(frames))).total for frames in (184, 434))
    plain = [Micro(paper(f), 1 << 20).allocations()["total"] for f in (184, 434)]
    assert long - short < 0.06 * short
    assert plain[1] > 2 * plain[0]


def test_the_claimed_arenas_hold_the_parts_and_less_does_not() -> None:
    streamed = split(paper(184))
    found = memory(streamed)
    for content, part in zip((*streamed.parts, streamed.head), found.parts, strict=True):
        Micro(content, part.bytes)
        assert part.persistent + part.activations <= part.bytes
    # The part with the largest activations, which alone decide how much it needs.
    worst = max(range(len(streamed.parts)), key=lambda n: found.parts[n].activations)
    with pytest.raises(MemoryError):
        Micro(streamed.parts[worst], found.parts[worst].bytes - 2 * ALIGNMENT)
    # TFLite Micro itself must hold at least what a step reads and writes.
    plan = streamed.plan
    for part, held in zip(plan.parts, found.parts, strict=False):
        read = sum(i.windows * i.rows * plan.lines[i.line].row_bytes for i in part.inputs)
        assert held.activations >= max(read, plan.lines[part.output].row_bytes)


@pytest.mark.parametrize("frames", [32, 33, 45, 54, 59])
def test_any_number_of_frames_and_classes(frames: int) -> None:
    content = small(frames, 4 + frames % 5)
    streamed = split(content)
    assert compare(content, streamed, random_clips(3, content)) == same(3)
    # At an odd height the stem makes its last row twice; nothing else is computed twice.
    assert streamed.plain_macs <= streamed.macs <= 1.001 * streamed.plain_macs


@pytest.mark.parametrize("kind", KINDS)
def test_fine_tuned_networks_too(toy: Params, kind: str) -> None:
    content = converter.to_int8(tune(toy, kind))
    assert compare(content, split(content), random_clips(3, content)) == same(3)


VARIANTS: dict[str, Callable[[], bytes]] = {
    "pools of three": lambda: other(
        layers.Conv2D(4, 3, padding="same"), layers.AveragePooling2D(3, padding="same")
    ),
    "overlapping pools, partial at both ends": lambda: other(
        layers.Conv2D(4, 3, padding="same"), layers.AveragePooling2D((3, 2), (2, 2), padding="same")
    ),
    "largest instead of average": lambda: other(
        layers.Conv2D(4, (2, 3), padding="same"), layers.MaxPooling2D(2, padding="same")
    ),
    "no padding": lambda: other(
        layers.Conv2D(4, 3, padding="valid"), layers.AveragePooling2D(2, padding="valid")
    ),
    "strides and an even kernel": lambda: other(
        layers.Conv2D(4, (4, 3), strides=2, padding="same", activation="relu")
    ),
    "depthwise and pointwise": lambda: other(
        layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(5, 1, activation="relu")
    ),
    "a separable block that is strided, then one that is not": lambda: other(
        layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(6, 1, activation="relu"),
        layers.DepthwiseConv2D((5, 3), padding="same", activation="relu"),
        layers.Conv2D(5, 1, activation="relu"),
        frames=38,
    ),
    "pool after pool": lambda: other(
        layers.AveragePooling2D((2, 1), padding="same"), layers.Conv2D(4, 3, padding="same")
    ),
    "dense classifier": lambda: other(layers.Conv2D(4, 3, padding="same"), dense=True),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_other_networks_of_the_family(name: str) -> None:
    content = VARIANTS[name]()
    streamed = split(content)
    assert compare(content, streamed, random_clips(4, content)) == same(4)
    assert streamed.plain_macs == graph.read(content).macs()
    assert len(streamed.parts) == len(streamed.plan.parts) > 1


def test_dilation_over_time() -> None:
    content = other(layers.Conv2D(4, 3, padding="same"))

    def dilated(factor: int) -> bytes:
        """With the last 3×3 kernel's rows so far apart; its padding keeps the shapes."""
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        writer, source = Writer(model), model.subgraphs[0]
        numbers: dict[int, int] = {}
        for n, op in enumerate(source.operators):
            for t in map(int, (*op.inputs, *op.outputs)):
                if t not in numbers:
                    numbers[t] = writer.tensor(t)
            inputs = [numbers[int(t)] for t in op.inputs]
            taken = writer.operator(n, inputs, numbers[int(op.outputs[0])])
            if len(inputs) == 3 and source.tensors[op.inputs[1]].shape[1] == 3:
                taken.builtinOptions.dilationHFactor = factor
        return writer.finish([numbers[int(source.inputs[0])]], numbers[int(source.outputs[0])])

    clips = random_clips(4, content)
    assert compare(dilated(3), split(dilated(3)), clips) == same(4)
    assert compare(dilated(1), split(dilated(3)), clips).rows == 4


def changed(streamed: Streamed, **changes: object) -> Streamed:
    """The same parts, but with the entries of the plan's convolutions that see a border changed."""

    def change(read: PartInput) -> PartInput:
        return dataclasses.replace(read, **changes) if read.top and not read.repeat else read

    parts = tuple(
        dataclasses.replace(part, inputs=tuple(map(change, part.inputs)))
        for part in streamed.plan.parts
    )
    return dataclasses.replace(streamed, plan=dataclasses.replace(streamed.plan, parts=parts))


def with_lines(streamed: Streamed, **changes: object) -> Streamed:
    lines = tuple(dataclasses.replace(line, **changes) for line in streamed.plan.lines)
    return dataclasses.replace(streamed, plan=dataclasses.replace(streamed.plan, lines=lines))


def test_the_comparison_notices_a_border_of_zeros() -> None:
    content = small(59)
    streamed = split(content)
    assert any(line.zero_point != 0 for line in streamed.plan.lines)
    assert compare(content, with_lines(streamed, zero_point=0), random_clips(3, content)).rows == 3


def test_the_comparison_notices_a_window_that_is_off_by_a_row() -> None:
    content = small(59)
    assert compare(content, changed(split(content), top=2), random_clips(3, content)).rows == 3


def test_no_line_buffer_could_be_shorter() -> None:
    content = small(59)
    streamed = split(content)
    clips = random_clips(1, content)
    for number, line in enumerate(streamed.plan.lines):
        if line.rows > 1:
            lines = list(streamed.plan.lines)
            lines[number] = dataclasses.replace(line, rows=line.rows - 1)
            plan = dataclasses.replace(streamed.plan, lines=tuple(lines))
            shorter = dataclasses.replace(streamed, plan=plan)
            assert compare(content, shorter, clips, litert).rows == 1


def test_the_comparison_notices_a_pool_that_averages_over_rows_that_do_not_exist() -> None:
    content = small(59)
    streamed = split(content)
    reads = [i for part in streamed.plan.parts for i in part.inputs if i.repeat]
    heights = [streamed.plan.lines[i.line].height for i in reads]
    assert any(height % read.kernel for read, height in zip(reads, heights, strict=True))
    parts = tuple(
        dataclasses.replace(
            part, inputs=tuple(dataclasses.replace(i, repeat=False) for i in part.inputs)
        )
        for part in streamed.plan.parts
    )
    padded = dataclasses.replace(streamed, plan=dataclasses.replace(streamed.plan, parts=parts))
    assert compare(content, padded, random_clips(3, content)).rows == 3


def test_softmax_hides_what_the_rows_show() -> None:
    # Why rows are compared at all: a last convolution off by one step in one place.
    content = small(59)
    streamed = split(content)
    last = streamed.plan.mean.line

    def off_by_one(part: bytes) -> Callable[[list[np.ndarray]], np.ndarray]:
        run = litert(part)

        def invoke(values: list[np.ndarray]) -> np.ndarray:
            found = run(values).copy()
            if part == streamed.parts[-1]:
                found.ravel()[0] ^= 1
            return found

        return invoke

    assert streamed.plan.parts[-1].output == last
    found = compare(content, streamed, random_clips(5, content), off_by_one)
    assert found.rows == 5
    assert found.outputs < 5


def run_litert(content: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()


def mean_and_head(content: bytes, rows: int) -> bytes:
    """The undivided network from its MEAN on, for `rows` rows."""
    read = Network(content)
    operators = read.graph.operators
    source = int(operators[read.mean].inputs[0])
    writer = Writer(read.model)
    shape = (1, rows, *read.shape(source)[2:])
    numbers = {source: writer.tensor(source, shape)}
    output = source
    for n in (read.mean, *read.head):
        for t in (*operators[n].inputs, *operators[n].outputs):
            if int(t) not in numbers:
                numbers[int(t)] = writer.tensor(int(t))
        output = int(operators[n].outputs[0])
        writer.operator(n, [numbers[int(t)] for t in operators[n].inputs], numbers[output])
    return writer.finish([numbers[source]], numbers[output])


def test_a_result_after_each_step_is_the_heads_for_the_rows_so_far() -> None:
    content = small(184)
    streamed = split(content)
    rows: list[np.ndarray] = []
    last = streamed.plan.mean.line
    stream = StreamingInterpreter(
        streamed, watch=lambda line, row: rows.append(row.copy()) if line == last else None
    )
    clip = random_clips(1, content)[0, :, :, 0]
    results = {}
    for frame in clip:
        stream.push(frame[np.newaxis])
        result = stream.result()
        if not rows:
            assert result is None
            continue
        heard = np.array(rows).reshape(1, len(rows), -1, streamed.plan.mean.channels)
        if len(rows) not in results:
            results[len(rows)] = run_litert(mean_and_head(content, len(rows)), heard)
        assert np.array_equal(result, results[len(rows)])
    assert max(results) == 6
    assert len(results) > 3
    assert len({tuple(r) for r in results.values()}) > 1
    # In one go or frame by frame, and asked for or not, the end is the same.
    stream.reset()
    assert stream.result() is None
    stream.push(clip)
    assert np.array_equal(stream.result(), results[6])


def test_each_step_runs_as_soon_as_its_rows_are_there_and_never_twice() -> None:
    streamed = split(small(184))
    counts: dict[int, int] = {}
    stream = StreamingInterpreter(
        streamed, watch=lambda line, _: counts.update({line: counts.get(line, 0) + 1})
    )
    most = 0
    for frame in random_clips(1, small(184))[0, :, :, 0]:
        before = sum(counts.values())
        stream.push(frame[np.newaxis])
        most = max(most, sum(counts.values()) - before)
    assert counts == {n: line.height for n, line in enumerate(streamed.plan.lines)}
    # What the last frames set free at once is the only heap of work there is.
    assert most < 0.15 * sum(counts.values())


@pytest.mark.parametrize("rows", [1, 2, 6, 14, 33])
@pytest.mark.parametrize("ratio", [1.0, 0.31, 2.7])
def test_the_average_is_tflites_in_both_runtimes(rows: int, ratio: float) -> None:
    read = Network(small(59))
    source = int(read.graph.operators[read.mean].inputs[0])
    output = int(read.graph.operators[read.mean].outputs[0])
    (scale, zero_point), columns = read.quantization(source), read.shape(source)[2]
    read.graph.tensors[output].quantization.scale = np.float32([scale]) * np.float32(ratio)
    output_scale, output_zero_point = read.quantization(output)
    builder = Writer(read.model)
    a, b = (
        builder.tensor(source, (1, rows, columns, 9)),
        builder.tensor(int(read.graph.operators[read.mean].inputs[1])),
    )
    c = builder.tensor(output)
    builder.operator(read.mean, [a, b], c)
    content = builder.finish([a], c)
    x = RNG.integers(-128, 128, (1, rows, columns, 9)).astype(np.int8)
    mean = Mean(
        0, columns, 9, zero_point, *quantized_multiplier(scale / output_scale), output_zero_point
    )
    ours = mean.of(x.reshape(-1, 9).sum(axis=0, dtype=np.int32), rows)
    assert np.array_equal(ours, run_litert(content, x))
    assert np.array_equal(ours, micro(content)([x]).ravel())
    # Floating-point arithmetic would be near, and the direct way is a fair check of both.
    near = (x.reshape(-1, 9).mean(axis=0) - zero_point) * scale / output_scale + output_zero_point
    assert np.abs(ours - near.clip(-128, 127)).max() <= 1


def test_windows_by_hand() -> None:
    convolution = PartInput(0, windows=2, kernel=3, stride=1, dilation=1, top=1, last=4, rows=3, repeat=False)  # fmt: skip
    assert convolution.row_numbers(0, height=5) == [-1, 0, 1, 0, 1, 2]
    assert convolution.rows_needed(0, height=5) == 3
    assert convolution.row_numbers(2, height=5) == [3, 4, -1, 3, 4, -1]  # the last window again
    assert convolution.oldest(2) == 3
    pool = PartInput(
        0, windows=1, kernel=3, stride=3, dilation=1, top=1, last=1, rows=6, repeat=True
    )
    assert pool.row_numbers(0, height=5) == [0, 0, 0, 1, 1, 1]
    assert pool.row_numbers(1, height=5) == [2, 2, 3, 3, 4, 4]


def test_the_plan_is_plain_data_and_the_parts_are_the_same_each_time() -> None:
    content = small(59)
    one, two = split(content), split(content)
    assert one == two
    text = json.dumps(one.plan.to_dict())
    assert json.loads(text)["lines"][0]["height"] == 59
    assert json.dumps(memory(one).to_dict())


def test_weights_are_aligned_and_none_is_there_twice() -> None:
    content = paper(184)
    streamed = split(content)
    weights = 0
    for part in (*streamed.parts, streamed.head):
        model = schema.Model.GetRootAs(part, 0)
        for number in range(model.BuffersLength()):
            buffer = model.Buffers(number)
            if buffer.DataLength():
                weights += buffer.DataLength()
                address = buffer.DataAsNumpy().__array_interface__["data"][0]
                start = np.frombuffer(part, np.uint8).__array_interface__["data"][0]
                assert (address - start) % ALIGNMENT == 0
    read = graph.read(content)
    axes = next(op.inputs[1] for op in read.operators if op.name == "MEAN")
    constants = sum(t.bytes for n, t in enumerate(read.tensors) if t.constant and n != axes)
    assert weights == constants


def test_what_cannot_be_streamed_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"cannot be streamed: tensor \d+ of CONV_2D is not int8"):
        split(converter.to_float(toy_model()))
    with pytest.raises(ModelError, match="not a TFLite model"):
        split(b"no flatbuffer at all")
    with pytest.raises(ModelError, match="it has 0 MEAN operators, expected one"):
        inputs = layers.Input((20, 9, 1))
        x = layers.Conv2D(3, 3, padding="same")(inputs)
        split(quantized(tf_keras.Model(inputs, layers.Softmax()(layers.Flatten()(x)))))
    with pytest.raises(ModelError, match="PAD may mix moments of time"):
        split(other(layers.ZeroPadding2D(1), layers.AveragePooling2D(3)))


def test_frames_of_another_kind_or_too_many_are_a_callers_error() -> None:
    stream = StreamingInterpreter(split(small(59)))
    with pytest.raises(ValueError, match="expected int8 frames of 40 values"):
        stream.push(np.zeros((1, 39), np.int8))
    with pytest.raises(ValueError, match="expected int8 frames of 40 values"):
        stream.push(np.zeros((1, 40), np.float32))
    stream.push(np.zeros((59, 40), np.int8))
    with pytest.raises(ValueError, match="a clip has 59 frames"):
        stream.push(np.zeros((1, 40), np.int8))


def test_cutting_elsewhere_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = small(64)
    clips = random_clips(2, content)
    chosen = split(content)
    # Cut wherever it is possible: no pool runs with its convolution.
    monkeypatch.setattr(streaming, "_is_exact", lambda _: False)
    everywhere = split(content)
    assert len(everywhere.parts) > len(chosen.parts)
    assert compare(content, everywhere, clips) == same(2)
    assert memory(everywhere).total > memory(chosen).total


def test_an_operator_that_tflite_micro_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        def __init__(self, content: bytes, arena_bytes: int) -> None:
            raise MemoryError("Didn't find op for builtin opcode 'ATAN2'")

    monkeypatch.setattr("pipeline.mcu.arena.Micro", Lacking)
    with pytest.raises(ModelError, match="cannot run the model: Didn't find op"):
        arena(b"")


RECORDINGS = sorted(CORPORA.rglob("*.wav"))[:3] if CORPORA.is_dir() else []


@pytest.mark.skipif(not RECORDINGS, reason=f"needs recordings in {CORPORA}")
def test_real_recordings_give_the_same_bits(toy: Params) -> None:
    content = paper(184)
    plain = Int8Model(content)
    clips = []
    for file in RECORDINGS:
        rate, y = wavfile.read(file)
        clips.append(front_end.features(y.astype(np.float32), 3, rate, toy.features))
    x = plain.quantized(np.array(clips)[..., np.newaxis])
    assert compare(content, split(content), x) == same(len(RECORDINGS))
