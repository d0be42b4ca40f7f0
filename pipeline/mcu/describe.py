"""A model operator by operator: cost, receptive field, and the memory live while each runs."""

import textwrap
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from pipeline.errors import ModelError
from pipeline.mcu import COLUMNS
from pipeline.params import Features
from pipeline.tflite import flatbuffer, graph, receptive
from pipeline.tflite.card import Card

# What the second axis of the input counts, by the kind of features.
AXES = {"mfcc": "cepstral coefficients", "log_mel": "mel bands", "spectrogram": "frequency bins"}


@dataclass(frozen=True)
class Layer:
    """An operator of the graph.

    shape : of its output, the batch first
    kernel, stride : along time and frequency, None for operators without a window
    params : elements of its weights and bias
    receptive_field : frames and bins that an output value depends on, by the paper's Eq. 1 and 2,
        padding included; None behind an operator whose window is not known
    frames, bins : the same, limited to the input
    milliseconds : what so many frames span; None without a card
    hertz : what so many bins span at the low and at the high end of the axis; None without a card
        and where the axis is not one of frequency
    live : names of the activations that exist while it runs, the largest first
    live_bytes : their sizes together
    peak : it is the first operator with the most live bytes
    """

    number: int
    operator: str
    shape: tuple[int, ...]
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    params: int
    macs: int
    receptive_field: tuple[int, int] | None
    frames: int | None
    bins: int | None
    milliseconds: float | None
    hertz: tuple[float, float] | None
    live: tuple[str, ...]
    live_bytes: int
    peak: bool


@dataclass(frozen=True)
class Description:
    """A model.

    input_shape : batch × frames × bins × 1
    axis : what the bins are
    band : lowest and highest frequency in the input, in Hz; None without a card
    params : of all layers; what operators share, as the slabs of a tiled graph do, counts once
    peak_bytes : the most activations that are live at once; the arena holds a little more
    """

    input_shape: tuple[int, ...]
    axis: str
    band: tuple[float, float] | None
    params: int
    macs: int
    peak_bytes: int
    layers: list[Layer]

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        return asdict(self)


def describe(content: bytes, card: Card | None = None) -> Description:
    """Describe a flatbuffer.

    Parameters
    ----------
    content : the flatbuffer
    card : what its input is; without one there are neither milliseconds nor hertz

    Raises
    ------
    ModelError
        It is not a TFLite model, its first input has no axes of time and frequency, or the card is
        of another model.
    """
    read = graph.read(content)
    shape = read.tensors[read.inputs[0]].shape
    if len(shape) != 4:
        raise ModelError(
            f"the model's input is {'×'.join(map(str, shape))}, expected batch × frames × bins × 1"
        )
    features = card.feature_params() if card else None
    if features and shape[2] != features.bins:
        raise ModelError(
            f"the model's input has {shape[2]} bins, its card says {features.bins} {AXES[features.kind]}: "
            "this is another model's card"
        )
    windows = receptive.windows(content, read)
    fields = receptive.fields(content, read)
    live = read.live()
    live_bytes = [sum(read.tensors[n].bytes for n in numbers) for numbers in live]
    weights = [_weights(read, operator) for operator in read.operators]
    peak = live_bytes.index(max(live_bytes))
    layers = []
    for step, operator in enumerate(read.operators):
        output = operator.outputs[0]
        window, field = windows[step], fields[output]
        kernel, stride = receptive.pairs(window) if window else (None, None)
        frames = min(field.size[0], shape[1]) if field else None
        bins = min(field.size[1], shape[2]) if field else None
        layers.append(
            Layer(
                number=step + 1,
                operator=operator.name,
                shape=read.tensors[output].shape,
                kernel=kernel,
                stride=stride,
                params=sum(prod(read.tensors[n].shape) for n in weights[step]),
                macs=read.macs_of(operator),
                receptive_field=field.size if field else None,
                frames=frames,
                bins=bins,
                milliseconds=milliseconds(frames, features, card.sample_rate)
                if card and features and frames
                else None,
                hertz=hertz(bins, features, card.sample_rate)
                if card and features and bins
                else None,
                live=tuple(read.tensors[n].name for n in live[step]),
                live_bytes=live_bytes[step],
                peak=step == peak,
            )
        )
    return Description(
        input_shape=shape,
        axis=AXES[features.kind] if features else "bins",
        band=_band(features, card.sample_rate) if card and features else None,
        params=_params(content, read, weights),
        macs=read.macs(),
        peak_bytes=max(live_bytes),
        layers=layers,
    )


def milliseconds(frames: int, p: Features, sample_rate: int) -> float:
    """The audio under so many neighbouring frames: their hops, and one window."""
    return 1000 * ((frames - 1) * p.hop_length + p.n_fft) / sample_rate


def hertz(bins: int, p: Features, sample_rate: int) -> tuple[float, float] | None:
    """The width, in Hz, of so many neighbouring bins at the low and at the high end of the axis.

    Mel bands widen with frequency, so that the two differ. None for MFCC, whose axis is quefrency:
    a coefficient is made of the whole band.
    """
    if p.kind == "mfcc":
        return None
    if p.kind == "spectrogram":
        width = bins * sample_rate / p.n_fft
        return width, width
    import librosa  # of all that describes a model, this alone needs it

    corners = librosa.mel_frequencies(p.n_mels + 2, fmin=p.fmin, fmax=p.fmax, htk=True)
    return float(corners[bins + 1] - corners[0]), float(corners[-1] - corners[-2 - bins])


def _band(p: Features, sample_rate: int) -> tuple[float, float]:
    return (0.0, sample_rate / 2) if p.kind == "spectrogram" else (p.fmin, p.fmax)


def _weights(read: graph.Graph, operator: graph.Operator) -> tuple[int, ...]:
    """The constants that hold an operator's parameters."""
    if operator.name not in graph.WEIGHTED:
        return ()
    return tuple(n for n in operator.inputs[1:] if read.tensors[n].constant)


def _params(content: bytes, read: graph.Graph, weights: list[tuple[int, ...]]) -> int:
    tensors = flatbuffer.load(content).subgraphs[0].tensors
    buffers = [tensor.buffer for tensor in tensors]
    distinct = {tuple(buffers[n] for n in numbers): numbers for numbers in weights}
    return sum(prod(read.tensors[n].shape) for numbers in distinct.values() for n in numbers)


def _times(pair: tuple[int, ...]) -> str:
    return "×".join(map(str, pair))


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f}" if macs >= 10_000 else "<0.01"


def table(description: Description) -> str:
    """The description for a terminal of 80 columns."""
    lines = [
        f"{'':4} {'operator':19} {'output':>10} {'params':>7} {'M MACs':>7} {'frames':>6} {'ms':>6} "
        f"{'bins':>4} {'live':>9}"
    ]
    for layer in description.layers:
        name = layer.operator + (f" {_times(layer.kernel)}" if layer.kernel else "")
        cells = (
            f"{layer.params:,}" if layer.params else "",
            _millions(layer.macs) if layer.macs else "",
            "?" if layer.frames is None else str(layer.frames),
            "" if layer.milliseconds is None else f"{layer.milliseconds:.0f}",
            "?" if layer.bins is None else str(layer.bins),
        )
        lines.append(
            f"{'*' if layer.peak else '':1}{layer.number:3} {name:19.19} {_times(layer.shape[1:]):>10} "
            f"{cells[0]:>7} {cells[1]:>7} {cells[2]:>6} {cells[3]:>6} {cells[4]:>4} {layer.live_bytes:9,}"
        )
    peak = next(layer for layer in description.layers if layer.peak)
    _, frames, bins, _ = description.input_shape
    notes = [
        "",
        f"{description.params:,} parameters, {description.macs:,} MACs; input of {frames} frames × {bins} {description.axis}.",
        f"* peak: {description.peak_bytes:,} bytes of activations live while {peak.number} {peak.operator} runs. The arena also holds TFLite Micro's persistent part.",
        "frames, ms, bins: the receptive field by the paper's Eq. 1 and 2, limited to the input.",
    ]
    if description.band:
        notes.append(_frequency(description, *description.band))
    return "\n".join(
        lines + [text for note in notes for text in textwrap.wrap(note, COLUMNS) or [""]]
    )


def _frequency(description: Description, low: float, high: float) -> str:
    """What the receptive field's bins are in hertz, or why they are none."""
    spans = {layer.bins: layer.hertz for layer in description.layers if layer.bins and layer.hertz}
    if not spans:
        return f"The bins are {description.axis} (quefrency): each is made of the whole band, {low:,.0f} to {high:,.0f} Hz."
    told = [
        f"{bins}: {narrow:,.0f}" + ("" if narrow == wide else f" to {wide:,.0f}")
        for bins, (narrow, wide) in sorted(spans.items())
    ]
    return f"So many of the {description.axis} span, in Hz, at the low to the high end of {low:,.0f} to {high:,.0f} Hz: {'; '.join(told)}."
