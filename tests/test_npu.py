"""Ethos-U through Vela: its own figures, read and not guessed."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from conftest import TOY
from test_operators import quantized_elsewhere
from tf_keras import layers

from pipeline.errors import ModelError, SernetError
from pipeline.mcu import npu
from pipeline.models import lightsernet
from pipeline.models.folding import classifier_as_convolution, fold
from pipeline.params import Model
from pipeline.tflite import converter

X = np.random.default_rng(0).normal(0, 4, (4, 96, 20, 1)).astype(np.float32)

vela = pytest.mark.skipif(not npu.available(), reason="Vela is not installed (ethos-u-vela)")


@cache
def content() -> bytes:
    p = Model(**TOY["model"], dropout=0.3, l2=1e-6, bn_momentum=0.9)
    return converter.to_int8(classifier_as_convolution(fold(lightsernet.build(96, 20, 4, p))), X)


@cache
def with_a_reversal() -> bytes:
    """A model with an operator that Ethos-U85 has, and the older ones have not."""
    inputs = layers.Input(X.shape[1:])
    x = layers.Conv2D(2, (3, 3), padding="same")(inputs)
    x = layers.Lambda(lambda x: tf.reverse(x, [1]))(x)
    return quantized_elsewhere(tf_keras.Model(inputs, x))


@vela
@pytest.mark.parametrize("accelerator", npu.ACCELERATORS)
def test_the_network_runs_on_the_npu_alone(accelerator: str) -> None:
    found = npu.compiled(content(), accelerator)
    assert found.cpu_operators == {}
    assert found.file_bytes > found.flash_bytes > 0
    # The widest activation, the input of a layer beside its output, has to be somewhere.
    assert found.sram_bytes >= 96 * 20


@vela
@pytest.mark.parametrize(
    ("accelerator", "left"),
    [
        ("ethos-u55-128", {"REVERSE_V2": 1}),
        ("ethos-u65-256", {"REVERSE_V2": 1}),
        ("ethos-u85-256", {}),
    ],
)
def test_what_the_npu_cannot_do_is_counted_as_the_cpus(
    accelerator: str, left: dict[str, int]
) -> None:
    found = npu.compiled(with_a_reversal(), accelerator)
    assert found.cpu_operators == left
    assert ("REVERSE_V2 (1)" in npu.table([found])) == bool(left)


@vela
def test_the_figures_are_those_that_vela_prints(tmp_path: Path) -> None:
    found = npu.compiled(content(), "ethos-u55-128", "Performance")
    (tmp_path / "m.tflite").write_bytes(content())
    said = subprocess.run(
        [sys.executable, "-m", "ethosu.vela", "m.tflite", "--accelerator-config=ethos-u55-128",
         "--system-config=Ethos_U55_High_End_Embedded", "--memory-mode=Shared_Sram"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    printed = dict(re.findall(r"Total (.+) used +([\d.]+) KiB", said))
    assert float(printed["SRAM"]) == pytest.approx(found.sram_bytes / 1024, abs=0.005)
    assert float(printed["Off-chip Flash"]) == pytest.approx(found.flash_bytes / 1024, abs=0.005)
    assert (tmp_path / "output/m_vela.tflite").stat().st_size == found.file_bytes


@vela
def test_compiling_for_size_takes_less_sram() -> None:
    size, speed = (npu.compiled(content(), optimise=o) for o in ("Size", "Performance"))
    assert size.sram_bytes < speed.sram_bytes


@vela
def test_a_run_leaves_the_same_bytes_and_the_table_shows_them() -> None:
    found = npu.compiled(content())
    assert found == npu.compiled(content())
    text = npu.table([found])
    assert f"{found.sram_bytes:,}" in text
    assert f"{found.flash_bytes:,}" in text
    assert "nothing" in text.splitlines()[1]
    assert "not to be taken as accurate" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


@vela
def test_an_unknown_accelerator_is_refused_in_one_line() -> None:
    for name, said in (
        ("ethos-n78", "expected one such as ethos-u55-128"),
        ("ethos-u55-77", "does not compile the model for ethos-u55-77: .*invalid choice"),
    ):
        with pytest.raises(ModelError, match=said) as error:
            npu.compiled(content(), name)
        assert "\n" not in str(error.value)


def test_without_vela_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SernetError, match=r"not installed.*pip install ethos-u-vela"):
        npu.compiled(content())


def test_what_is_no_model_does_not_reach_vela() -> None:
    for no_model, said in ((b"RIFF", "not a TFLite model"), (content()[:64], "is damaged")):
        with pytest.raises(ModelError, match=said) as error:
            npu.compiled(no_model)
        assert "\n" not in str(error.value)
