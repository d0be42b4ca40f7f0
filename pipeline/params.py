"""params.yaml as a frozen, validated object; a function gets its section, not the whole."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline import forms
from pipeline.errors import ParamsError

PATH = Path("params.yaml")

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
CheckName = Literal[
    "labels", "ids", "duplicates", "seconds", "finite", "silent", "clipped",
    "speakers_per_class", "fold_classes", "speaker_overlap",
]  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Corpus(Section):
    name: str
    path: str
    subset: str


class Validate(Section):
    min_seconds: NonNegative
    max_seconds: Positive
    silence_dbfs: Finite
    clipped_fraction: Fraction
    min_speakers_per_class: Count
    warn: list[CheckName]

    @model_validator(mode="after")
    def _consistent(self) -> "Validate":
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"min_seconds ({self.min_seconds} s) must not exceed max_seconds ({self.max_seconds} s)"
            )
        return self


class Split(Section):
    leave_out: Literal["auto", "speaker", "session", "speaker_groups", "paper"]
    folds: Annotated[int, Field(ge=2)]
    inner_validation: bool


class Features(Section):
    kind: Literal["mfcc", "log_mel", "spectrogram"]
    level: Literal["clip", "none"]
    n_fft: Count
    hop_length: Count
    n_mels: Count
    fmin: NonNegative
    fmax: Positive
    n_mfcc: Count
    lifter: Natural
    log_offset: Positive
    clip: Positive

    @model_validator(mode="after")
    def _consistent(self) -> "Features":
        if self.fmin >= self.fmax:
            raise ValueError(f"fmin ({self.fmin} Hz) must lie below fmax ({self.fmax} Hz)")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc ({self.n_mfcc}) must not exceed n_mels ({self.n_mels})")
        if 0 < self.lifter < self.n_mfcc:
            raise ValueError(
                f"lifter ({self.lifter}) must be 0 or at least n_mfcc ({self.n_mfcc}), else it turns the sign of coefficients"
            )
        return self

    @property
    def bins(self) -> int:
        """How many values a frame has."""
        return {"mfcc": self.n_mfcc, "log_mel": self.n_mels, "spectrogram": self.n_fft // 2 + 1}[self.kind]  # fmt: skip


class Model(Section):
    members: Annotated[int, Field(ge=1, le=8)]
    stem_filters: Count
    stem_pool: Annotated[list[Count], Field(min_length=2, max_length=2)]
    body: Literal["standard", "separable"]
    body_filters: Annotated[list[Count], Field(min_length=4, max_length=4)]
    head_filters: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    l2: NonNegative
    bn_momentum: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    loss: Literal["cross_entropy", "focal"]
    focal_gamma: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: bool
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    schedule: Literal["steps", "one_cycle"]
    hold_epochs: Natural
    decay_epochs: Count
    decay: NonNegative
    warm_up_epochs: NonNegative
    weight_decay: NonNegative
    averaged_epochs: Natural
    patience: Count | None
    precision: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if self.averaged_epochs > self.epochs:
            raise ValueError(
                f"averaged_epochs ({self.averaged_epochs}) must not exceed epochs ({self.epochs})"
            )
        return self


class Augment(Section):
    time_shift: NonNegative
    speed: NonNegative
    vocal_tract: NonNegative
    gain_db: NonNegative
    noise_share: Fraction
    noise_snr_db: Annotated[list[Finite], Field(min_length=2, max_length=2)]
    time_masks: Natural
    time_mask_seconds: NonNegative
    frequency_masks: Natural
    frequency_mask_share: Fraction
    mixup: NonNegative

    @model_validator(mode="after")
    def _consistent(self) -> "Augment":
        low, high = self.noise_snr_db
        if low > high:
            raise ValueError(f"noise_snr_db: from ({low} dB) must not exceed to ({high} dB)")
        return self

    @property
    def on_spectrum(self) -> bool:
        """Whether anything acts on the logarithm of the mel bands."""
        return any((self.vocal_tract, self.gain_db, self.noise_share, self.frequency_masks))


class Fold(Section):
    tolerance: Positive


class Quantize(Section):
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    distill: Fraction


class Convert(Section):
    representative_clips: Count


class Evaluate(Section):
    board: str
    tiling: Literal["off", "auto"] | Count
    level: Literal["whole", "deferred", "running"]
    exact_clips: Count
    runtime_flash_bytes: Natural
    runtime_ram_bytes: Natural
    stack_bytes: Natural
    over_budget: Literal["report", "fail"]


class Gate(Section):
    """Thresholds of a change.

    ua_drop : points of the int8 model's UA (honest protocol) that it may lose
    macs_growth : percent by which its MACs may grow; None sets no limit
    """

    ua_drop: NonNegative
    macs_growth: NonNegative | None


class Params(Section):
    input_len: Positive
    sample_rate: Count
    seed: Natural
    corpus: Corpus
    validation: Annotated[Validate, Field(alias="validate")]
    split: Split
    features: Features
    model: Model
    train: Train
    augment: Augment
    fold: Fold
    quantize: Quantize
    convert: Convert
    evaluate: Evaluate
    gate: Gate

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        if self.features.fmax > self.sample_rate / 2:
            raise ValueError(
                f"features.fmax ({self.features.fmax} Hz) lies above half the sample_rate ({self.sample_rate} Hz)"
            )
        if self.features.kind == "spectrogram" and self.augment.on_spectrum:
            raise ValueError(
                "augment.vocal_tract, gain_db, noise_share and frequency_masks act on mel bands, which features.kind spectrogram has not: set them to 0"
            )
        if self.train.patience is not None and not self.split.inner_validation:
            raise ValueError(
                f"train.patience ({self.train.patience}) waits for an inner speaker, and split.inner_validation is false: "
                "set it to true, or train.patience to null"
            )
        if self.input_len * self.sample_rate < self.features.n_fft:
            raise ValueError(
                f"input_len ({self.input_len} s) is shorter than one window of features.n_fft ({self.features.n_fft} samples)"
            )
        return self


def _name(place: tuple[Any, ...]) -> str:
    """What the entry at `place` is called.

    Below an entry only the place in a list is the user's; else it is pydantic's name of a choice.
    """
    return forms.dotted(
        tuple(part for depth, part in enumerate(place) if depth < 2 or isinstance(part, int))
    )


def load(path: Path | str = PATH, changes: Mapping[str, Any] | None = None) -> Params:
    """Read and check params.yaml; `changes` by dotted names take the place of what it says.

    Raises
    ------
    ParamsError
        The file is missing, is not YAML, or has an unknown, missing or ill-typed entry, or
        `changes` name a section that it has not; the message names the entry by its dotted name.
    """
    path = Path(path)
    try:
        content = forms.content(path)
    except FileNotFoundError:
        raise ParamsError(
            f"no {path} in {Path.cwd()}: run this from the root of the project"
        ) from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected sections of parameters, found {content!r}")
    for dotted, value in (changes or {}).items():
        section, _, entry = dotted.rpartition(".")
        entries = content.get(section) if section else content
        if not isinstance(entries, dict):
            raise ParamsError(f"{path}: no section {section!r} for {dotted}: correct its name")
        entries[entry] = value
    try:
        return Params.model_validate(content)
    except pydantic.ValidationError as error:
        problems = "; ".join(forms.problem(problem, _name) for problem in error.errors())
        raise ParamsError(f"{path}: {problems}") from None


def select(names: tuple[str, ...]) -> Any:
    """The entries in `names` and nothing else: whole sections, or dotted single ones.

    A stage that reads a parameter it does not declare fails with AttributeError, and a test
    compares what stages declare with dvc.yaml: so dvc.yaml cannot miss a parameter.
    """
    params = load()
    selected = SimpleNamespace()
    for name in names:
        section, _, entry = name.partition(".")
        attribute = {"validate": "validation"}.get(section, section)
        value = getattr(params, attribute)
        if entry:
            value = SimpleNamespace(**{entry: getattr(value, entry)})
        setattr(selected, attribute, value)
    return selected
