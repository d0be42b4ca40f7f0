"""params.yaml: what is wrong with it is said by the entry's dotted name, in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from pipeline import params
from pipeline.errors import ParamsError


def test_the_projects_own_file_is_valid() -> None:
    assert params.load(ROOT / "params.yaml").train.loss == "cross_entropy"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train__epoch": 3}, "train.epoch: unknown entry"),
        ({"train__epochs": "many"}, "train.epochs: input should be a valid integer"),
        ({"train__epochs": 0}, "train.epochs: input should be greater than or equal to 1, found 0"),
        ({"train__loss": "hinge"}, "train.loss: input should be 'cross_entropy' or 'focal'"),
        ({"input_len": -1}, "input_len: input should be greater than 0, found -1"),
        ({"features__fmax": 9000.0}, "lies above half the sample_rate"),
        ({"features__n_mfcc": 200}, "must not exceed n_mels"),
        ({"features__lifter": 22}, "lifter (22) must be 0 or at least n_mfcc (40)"),
        ({"input_len": 0.01}, "shorter than one window"),
        ({"train__patience": 3}, "train.patience (3) waits for an inner speaker, and split.inner_"),
        ({"validate__warn": ["colour"]}, "validate.warn.0: input should be 'labels'"),
        (
            {"validate__min_seconds": 61.0},
            "validate: min_seconds (61.0 s) must not exceed max_seconds (60.0 s)",
        ),
        ({"validate__silence_dbfs": -np.inf}, "validate.silence_dbfs: input should be a finite"),
        ({"augment__noise_snr_db": [5.0, np.inf]}, "augment.noise_snr_db.1: input should be a fin"),
        ({"evaluate__tiling": 0}, "evaluate.tiling: input should be 'off' or 'auto', found 0; "),
        ({"evaluate__tiling": 0}, "; evaluate.tiling: input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_entry_is_named(
    write_params: Callable[..., Path], changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        params.load(write_params(**changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_change_is_in_the_place_of_what_the_file_says(write_params: Callable[..., Path]) -> None:
    changed = params.load(write_params(), {"train.epochs": 7, "seed": 3})
    assert (changed.train.epochs, changed.seed) == (7, 3)


@pytest.mark.parametrize(
    ("dotted", "said"),
    [
        ("trian.epochs", "no section 'trian' for trian.epochs"),
        ("seed.first", "no section 'seed' for seed.first"),
        ("train.epoch", "train.epoch: unknown entry"),
    ],
)
def test_a_change_of_what_is_not_there_is_named(
    write_params: Callable[..., Path], dotted: str, said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        params.load(write_params(), {dotted: 1})


def test_a_missing_entry_is_named(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    file = write_params()
    file.write_text(file.read_text().replace("  loss: cross_entropy\n", ""))
    with pytest.raises(ParamsError, match=r"train\.loss: missing"):
        params.load(file)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run this from the root of the project"):
        params.load(tmp_path / "params.yaml")


def test_scientific_notation_without_a_point_is_a_number(
    write_params: Callable[..., Path],
) -> None:
    file = write_params()
    file.write_text(file.read_text().replace("learning_rate: 0.001", "learning_rate: 1e-4"))
    assert params.load(file).train.learning_rate == 1e-4


def test_a_stage_cannot_read_what_it_does_not_declare(
    write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_params().parent)
    selected = params.select(("train",))
    assert selected.train.epochs == 2
    with pytest.raises(AttributeError):
        _ = selected.seed


def test_a_stage_can_declare_a_single_entry(
    write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_params().parent)
    selected = params.select(("corpus.name",))
    assert selected.corpus.name == "demo"
    with pytest.raises(AttributeError):
        _ = selected.corpus.path
