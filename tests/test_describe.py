"""`describe`: receptive field, cost and live memory, against what the networks themselves do."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from conftest import ROOT, TOY
from ruamel.yaml import YAML
from tf_keras import layers

from pipeline.errors import ModelError
from pipeline.mcu import describe, picture
from pipeline.mcu.arena import smallest
from pipeline.mcu.boards import Board
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Model
from pipeline.tflite import converter, graph, receptive
from pipeline.tflite.card import Card
from pipeline.tflite.receptive import Field
from pipeline.tflite.windows import Window

FRAMES, BINS = 224, 144  # enough that no receptive field but the last meets a border
P = Model(**TOY["model"], dropout=0.3, l2=1e-6, bn_momentum=0.9)


@cache
def unfolded() -> tf_keras.Model:
    return lightsernet.build(FRAMES, BINS, 5, P)


@cache
def network() -> tf_keras.Model:
    return classifier_as_convolution(fold(unfolded()))


@cache
def content() -> bytes:
    return converter.to_int8(network(), np.random.default_rng(0).random((1, FRAMES, BINS, 1), "f"))


def card(kind: str = "mfcc", bins: int = BINS) -> Card:
    features = YAML(typ="safe").load(ROOT / "params.yaml")["features"]
    features |= {"kind": kind, "n_mels": bins, "n_mfcc": bins}
    if kind == "spectrogram":
        features["n_fft"] = 2 * (bins - 1)
    return Card(["a"], 3.0, 16000, features, "ptq")


def reached(model: tf_keras.Model, layer: str) -> tuple[int, int]:
    """Frames and bins of the input that one value in the middle of a layer's output depends on.

    Measured by gradients, with positive weights and inputs, so that no ReLU hides a dependence.
    """
    positive = tf_keras.Model(model.inputs, model.get_layer(layer).output)
    kept = model.get_weights()
    model.set_weights([np.abs(w) + 0.1 for w in kept])
    x = tf.ones((1, *model.input_shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = positive(x)
        middle = y[0, y.shape[1] // 2, y.shape[2] // 2] if y.shape.rank == 4 else y[0]
        total = tf.reduce_sum(middle)
    model.set_weights(kept)
    frames, bins = np.nonzero(tape.gradient(total, x)[0, ..., 0].numpy())
    return int(np.ptp(frames)) + 1, int(np.ptp(bins)) + 1


def predicted(made: bytes, layer: str) -> tuple[int, int]:
    """The receptive field of the last tensor that bears a layer's name."""
    read = graph.read(made)
    fields = receptive.fields(made, read)
    of = [f for t, f in zip(read.tensors, fields, strict=True) if f and f"/{layer}/" in t.name]
    return of[-1].size


LAYERS = [
    *(f"{path}_{kind}" for path in lightsernet.STEM_KERNELS for kind in ("relu", "pool")),
    "paths",
    *(f"body{n}_{kind}" for n in (1, 2, 3, 4) for kind in ("relu", "pool")),
    "head_relu",
]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_receptive_field_is_what_gradients_reach(layer: str) -> None:
    assert predicted(content(), layer) == reached(network(), layer)


def test_a_wrong_stride_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unstrided(made: bytes, read: graph.Graph) -> list[Window | None]:
        return [w and replace(w, rows=replace(w.rows, stride=1)) for w in true(made, read)]

    true = receptive.windows
    monkeypatch.setattr(receptive, "windows", unstrided)
    assert predicted(content(), "time_relu") == reached(network(), "time_relu")
    frames, bins = predicted(content(), "body2_relu")
    assert frames < reached(network(), "body2_relu")[0]
    assert bins == reached(network(), "body2_relu")[1]


def test_the_receptive_field_is_that_of_the_papers_equations() -> None:
    # The time path and what follows it, along time: kernels and strides.
    chain = [(11, 1), (2, 2), *[(3, 1), (2, 2)] * 4, (1, 1)]
    r = 1
    for k, s in reversed(chain):  # Eq. 1
        r = s * r + (k - s)
    strides = [s for _, s in chain]
    closed = 1 + sum((k - 1) * int(np.prod(strides[:i])) for i, (k, _) in enumerate(chain))  # Eq. 2
    assert predicted(content(), "head_relu")[0] == r == closed


def other_network(pooling: type[layers.Layer]) -> tf_keras.Model:
    """Valid padding, slices with and without a step, padding."""
    inputs = layers.Input((48, 40, 1))
    x = layers.Conv2D(2, (3, 5), name="first")(inputs)
    x = layers.Cropping2D(((2, 1), (0, 3)), name="cropped")(x)
    x = layers.Lambda(lambda x: x[:, ::2, ::3], name="thinned")(x)
    x = layers.ZeroPadding2D(1, name="padded")(x)
    x = layers.DepthwiseConv2D((3, 2), strides=(1, 1), name="depthwise")(x)
    x = pooling((2, 1), name="pool")(x)
    x = layers.Conv2D(3, (2, 2), name="last")(x)
    return tf_keras.Model(inputs, x, name="other")


def test_other_layers_are_followed_too() -> None:
    made = converter.to_float(other_network(layers.MaxPooling2D))
    assert {"STRIDED_SLICE", "PAD", "DEPTHWISE_CONV_2D", "MAX_POOL_2D"} <= set(
        graph.read(made).histogram()
    )
    read = graph.read(made)
    field = receptive.fields(made, read)[read.outputs[0]]
    assert field is not None
    # Of a maximum only one value passes a gradient on: an average of the same window stands for it.
    assert field.size == reached(other_network(layers.AveragePooling2D), "last")
    assert field.jump == (4, 3)


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_dilated_kernel_spans_its_gaps() -> None:
    def convolution(rate: int) -> tf_keras.Model:
        inputs = layers.Input((24, 24, 1))
        x = layers.Conv2D(2, (3, 5), padding="same", dilation_rate=rate, name="only")(inputs)
        return tf_keras.Model(inputs, x)

    # TFLite's converter writes other operators for dilation, so that it is set here.
    model = schema.ModelT.InitFromPackedBuf(converter.to_float(convolution(1)), 0)
    options = model.subgraphs[0].operators[0].builtinOptions
    options.dilationHFactor, options.dilationWFactor = 2, 2
    (layer,) = describe.describe(packed(model)).layers
    assert layer.receptive_field == reached(convolution(2), "only")
    assert layer.receptive_field != reached(convolution(1), "only")


def test_behind_an_unknown_operator_the_receptive_field_is_unknown() -> None:
    inputs = layers.Input((8, 6, 1))
    x = layers.Conv2D(2, 3)(inputs)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Conv2D(2, 3)(x)
    found = describe.describe(converter.to_float(tf_keras.Model(inputs, x)))
    known = [layer.receptive_field for layer in found.layers]
    assert [layer.operator for layer in found.layers] == ["CONV_2D", "TRANSPOSE", "CONV_2D"]
    assert known == [(3, 3), None, None]
    assert describe.table(found).splitlines()[2].split()[-3:-1] == ["?", "?"]


def test_what_flattens_depends_on_everything() -> None:
    inputs = layers.Input((6, 5, 1))
    x = layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(inputs)))
    found = describe.describe(converter.to_float(tf_keras.Model(inputs, x)))
    assert found.layers[-1].operator == "FULLY_CONNECTED"
    assert found.layers[-1].receptive_field == (6, 5)


def test_paths_of_different_spacing_have_no_one_field() -> None:
    field = Field().through((3, 3), (2, 1))
    assert (field.size, field.jump) == ((3, 3), (2, 1))
    inputs = layers.Input((8, 6, 1))
    strided = layers.Conv2D(2, 3, strides=(2, 1), padding="same")(inputs)
    cut = layers.Lambda(lambda x: x[:, :4])(inputs)
    model = tf_keras.Model(inputs, layers.Concatenate()([strided, cut]))
    found = describe.describe(converter.to_float(model))
    assert found.layers[-1].operator == "CONCATENATION"
    assert found.layers[-1].receptive_field is None


def test_macs_and_parameters_are_those_of_the_network() -> None:
    found = describe.describe(content())
    assert found.macs == sum(layer.macs for layer in found.layers) == lightsernet.macs(network())
    assert found.params == sum(layer.params for layer in found.layers) == network().count_params()
    assert found.params < unfolded().count_params()  # whose normalisation has been folded


def test_weights_that_operators_share_count_once() -> None:
    """A copy of the last convolution, as the slabs of a tiled graph are copies of one layer."""
    model = schema.ModelT.InitFromPackedBuf(content(), 0)
    subgraph = model.subgraphs[0]
    number, last = [
        (i, operator) for i, operator in enumerate(graph.read(content()).operators)
        if operator.name == "CONV_2D"
    ][-1]  # fmt: skip
    copy = schema.ModelT.InitFromPackedBuf(content(), 0).subgraphs[0].operators[number]
    subgraph.tensors.append(subgraph.tensors[last.outputs[0]])
    copy.outputs = np.array([len(subgraph.tensors) - 1], np.int32)
    subgraph.operators.insert(number, copy)
    once, twice = describe.describe(content()), describe.describe(packed(model))
    assert twice.params == once.params
    assert twice.macs == once.macs + once.layers[number].macs
    assert sum(layer.params for layer in twice.layers) > once.params


def test_the_peak_is_as_by_hand_and_as_in_tflite_micro() -> None:
    found = describe.describe(content())
    (peak,) = [layer for layer in found.layers if layer.peak]
    # Two pooled paths wait while the third at full resolution is pooled.
    full, pooled = FRAMES * BINS * 4, FRAMES * BINS
    assert found.peak_bytes == peak.live_bytes == full + 3 * pooled
    assert (peak.operator, peak.kernel, peak.stride) == ("AVERAGE_POOL_2D", (2, 2), (2, 2))
    assert len(peak.live) == 4
    assert peak.live_bytes == max(layer.live_bytes for layer in found.layers)
    assert 0 <= smallest(content()).parts["activations"] - found.peak_bytes <= 256


def test_frames_and_bins_are_limited_to_the_input() -> None:
    last = describe.describe(content()).layers[-1]
    assert last.receptive_field is not None and last.receptive_field[0] > FRAMES
    assert (last.frames, last.bins) == (FRAMES, BINS)


def test_milliseconds_count_hops_and_one_window() -> None:
    p = card().feature_params()
    assert (p.n_fft, p.hop_length) == (1024, 256)
    assert [describe.milliseconds(n, p, 16000) for n in (1, 2, 184)] == [64, 80, 2992]
    found = describe.describe(content(), card())
    first = found.layers[0]
    assert first.frames is not None
    assert first.milliseconds == 64 + 16 * (first.frames - 1)


@pytest.mark.parametrize("bins", [1, 9, 44, 128])
def test_mel_bands_span_what_htks_scale_says(bins: int) -> None:
    p = card("log_mel", 128).feature_params()
    # HTK's scale, m = 2595 · log10(1 + f / 700), in equal steps from end to end.
    low, high = (2595 * np.log10(1 + f / 700) for f in (p.fmin, p.fmax))
    corners = 700 * (10 ** (np.linspace(low, high, p.n_mels + 2) / 2595) - 1)
    spans = [corners[i + bins + 1] - corners[i] for i in range(p.n_mels - bins + 1)]
    found = describe.hertz(bins, p, 16000)
    np.testing.assert_allclose(found, (min(spans), max(spans)), rtol=1e-6)


def test_bins_of_a_spectrogram_are_evenly_wide_and_coefficients_are_no_frequencies() -> None:
    assert describe.hertz(4, card("spectrogram", 513).feature_params(), 16000) == (62.5, 62.5)
    assert describe.hertz(4, card("mfcc").feature_params(), 16000) is None
    assert all(layer.hertz is None for layer in describe.describe(content(), card()).layers)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("mfcc", "quefrency"), ("log_mel", "mel bands span, in Hz"), ("spectrogram", "8,000 Hz")],
)
def test_the_table_fits_a_terminal_and_says_what_the_bins_are(kind: str, said: str) -> None:
    text = describe.table(describe.describe(content(), card(kind)))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert said in " ".join(lines)
    assert len([line for line in lines if line[:1] == "*" and "peak" not in line]) == 1


def test_without_a_card_there_are_frames_and_no_milliseconds() -> None:
    found = describe.describe(content())
    assert {layer.milliseconds for layer in found.layers} == {None}
    assert found.axis == "bins"
    assert "Hz" not in describe.table(found)


def test_the_description_is_json() -> None:
    found = describe.describe(content(), card("log_mel"))
    again = json.loads(json.dumps(found.to_dict()))
    assert again["layers"][0]["hertz"] == list(found.layers[0].hertz or ())
    assert again["peak_bytes"] == found.peak_bytes


def test_what_is_no_model_of_speech_is_refused() -> None:
    with pytest.raises(ModelError, match="not a TFLite model"):
        describe.describe(b"no model at all")
    inputs = layers.Input((8,))
    made = converter.to_float(tf_keras.Model(inputs, layers.Dense(2)(inputs)))
    with pytest.raises(ModelError, match="input is 1×8, expected batch × frames × bins × 1"):
        describe.describe(made)
    with pytest.raises(ModelError, match="has 144 bins, its card says 40 cepstral coefficients"):
        describe.describe(content(), card("mfcc", 40))


def board(ram: int) -> Board:
    return Board(name="A <board>", core="Cortex-M7", mhz=100, ram=ram, flash=1, source="")


SVG = "{http://www.w3.org/2000/svg}"


def drawn(ram: int | None) -> tuple[list[ET.Element], ET.Element | None, str]:
    """The bars, the board's line and all the text of a picture."""
    found = describe.describe(content())
    text = picture.svg(found, "a & b.tflite", None if ram is None else board(ram))
    assert text == picture.svg(found, "a & b.tflite", None if ram is None else board(ram))
    root = ET.fromstring(text)
    bars = [r for r in root.iter(f"{SVG}rect") if r.get("class") in ("bar", "peak")]
    line = next((p for p in root.iter(f"{SVG}path") if p.get("class") == "limit"), None)
    return bars, line, " ".join("".join(root.itertext()).split())


def test_the_picture_has_a_bar_for_each_operator_as_high_as_its_live_bytes() -> None:
    found = describe.describe(content())
    bars, line, said = drawn(None)
    assert line is None
    assert "a & b.tflite" in said
    heights = np.array([float(bar.get("height", "")) for bar in bars])
    live = np.array([layer.live_bytes for layer in found.layers])
    np.testing.assert_allclose(heights / heights.max(), live / live.max(), atol=0.001)
    assert [bar.get("class") == "peak" for bar in bars] == [layer.peak for layer in found.layers]
    assert f"peak {found.peak_bytes:,} B" in said


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_the_boards_line_stands_above_the_peak_when_it_has_more(share: float) -> None:
    peak = describe.describe(content()).peak_bytes
    bars, line, said = drawn(int(share * peak))
    assert line is not None
    y = float(line.get("d", "").split("H")[0].split()[1])
    top = min(float(bar.get("y", "")) for bar in bars)
    assert (y < top) == (share > 1)
    assert "A <board>" in said


def test_a_board_with_far_more_is_named_and_not_drawn() -> None:
    peak = describe.describe(content()).peak_bytes
    _, line, said = drawn(10 * peak)
    assert line is None
    assert f"{10 * peak:,} B of RAM, above this scale" in said


def test_of_many_operators_only_some_are_labelled() -> None:
    found = describe.describe(content())
    many = describe.Description(**{**vars(found), "layers": found.layers * 10})
    labels = [picture._label(layer, len(many.layers)) for layer in found.layers]
    assert [label for label in labels if label] == ["5", "10", "15", "20"]
    assert picture._label(found.layers[0], len(found.layers)).startswith("1 CONV_2D ")
