"""Folding: the same function without batch normalisation, found in the graph."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from pipeline import dataset, paths, splits
from pipeline import fold as stage
from pipeline.dataset import Dataset
from pipeline.errors import ModelError
from pipeline.models import files, folding, lightsernet
from pipeline.models.folding import fold
from pipeline.params import Params
from pipeline.splits import Fold


def randomise(model: tf_keras.Model) -> None:
    """Statistics as training leaves them, not the zeros and ones of a new layer."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.moving_mean.shape[0]
            statistics = [rng.uniform(0.2, 3, n), rng.normal(0, 1, n), rng.normal(0, 2, n), rng.uniform(0.01, 4, n)]  # fmt: skip
            names = ["gamma", "beta", "moving_mean", "moving_variance"]
            kept = [v for v, name in zip(statistics, names, strict=True) if (name != "gamma" or layer.scale) and (name != "beta" or layer.center)]  # fmt: skip
            layer.set_weights(kept)


def largest_difference(model: tf_keras.Model, other: tf_keras.Model) -> float:
    x = np.random.default_rng(1).standard_normal((8, *model.input_shape[1:])).astype(np.float32)
    return float(np.abs(model.predict(x, verbose=0) - other.predict(x, verbose=0)).max())


@pytest.fixture(params=[{}, {"body": "separable"}, {"members": 2}], ids=str)
def network(toy: Params, request: pytest.FixtureRequest) -> tf_keras.Model:
    model = lightsernet.build(61, 40, 7, toy.model.model_copy(update=request.param))
    randomise(model)
    return model


def test_the_network_stays_the_same_function(network: tf_keras.Model) -> None:
    folded = fold(network)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    assert largest_difference(network, folded) < 1e-5


def test_the_check_notices_a_wrong_equation(
    network: tf_keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = folding.fold_weights

    def without_mean(kernel, bias, gamma, beta, mean, variance, epsilon):  # type: ignore[no-untyped-def]
        return right(kernel, bias, gamma, beta, 0 * mean, variance, epsilon)

    monkeypatch.setattr(folding, "fold_weights", without_mean)
    assert largest_difference(network, fold(network)) > 1e-3


def test_a_hand_computed_channel() -> None:
    kernel, bias = folding.fold_weights(
        np.array([[[[2.0]]]]), np.array([1.0]), np.array([3.0]), np.array([0.5]),
        np.array([4.0]), np.array([8.0]), 1.0,
    )  # fmt: skip
    # γ/√(σ²+ε) = 3/√9 = 1: W = 2, b = 1·(1−4) + 0.5
    assert (kernel.item(), bias.item()) == (2.0, -2.5)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_every_form_of_layer_and_any_name(scale: bool, center: bool, use_bias: bool) -> None:
    inputs = layers.Input((9, 7, 2))
    x = layers.Conv2D(5, 3, use_bias=use_bias, name="batch_normalization_like")(inputs)
    x = layers.BatchNormalization(scale=scale, center=center, epsilon=0.01, name="convolution")(x)
    x = layers.Flatten()(layers.ReLU()(x))
    x = layers.Dense(4, use_bias=use_bias)(x)
    x = layers.BatchNormalization(scale=scale, center=center)(x)
    model = tf_keras.Model(inputs, x)
    randomise(model)
    folded = fold(model)
    assert len(folded.layers) == len(model.layers) - 2
    assert largest_difference(model, folded) < 1e-4


def test_a_convolution_that_is_read_twice_is_refused() -> None:
    inputs = layers.Input((9, 7, 2))
    x = layers.Conv2D(5, 3, name="shared")(inputs)
    model = tf_keras.Model(inputs, layers.Add()([layers.BatchNormalization()(x), x]))
    with pytest.raises(ModelError, match="output of shared is also read without"):
        fold(model)


def test_normalisation_behind_an_activation_is_refused() -> None:
    inputs = layers.Input((9, 7, 2))
    x = layers.Conv2D(5, 3, activation="relu", name="bent")(inputs)
    with pytest.raises(ModelError, match="follows bent"):
        fold(tf_keras.Model(inputs, layers.BatchNormalization()(x)))


def test_the_classifier_as_a_convolution_is_the_same_function(network: tf_keras.Model) -> None:
    changed = folding.classifier_as_convolution(network)
    assert not any(isinstance(layer, layers.Dense) for layer in changed.layers)
    assert changed.count_params() == network.count_params()
    assert lightsernet.macs(changed) == lightsernet.macs(network)
    assert largest_difference(network, changed) < 1e-6


def test_a_dense_layer_elsewhere_is_refused() -> None:
    inputs = layers.Input((9, 7, 2))
    model = tf_keras.Model(inputs, layers.Dense(3, name="elsewhere")(layers.Flatten()(inputs)))
    with pytest.raises(ModelError, match="elsewhere does not follow a global average"):
        folding.classifier_as_convolution(model)


@pytest.fixture
def folded_with(
    toy: Params, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """The stage on two folds, each folded model with so much added to a bias of its classifier."""
    monkeypatch.chdir(write_params().parent)
    paths.FLOAT.mkdir(parents=True)
    folds = [Fold("speaker-a", ["b0"], [], ["a0"]), Fold("speaker-b", ["a0"], [], ["b0"])]
    for part in folds:
        files.save(lightsernet.build(40, 24, 3, toy.model), paths.model(paths.FLOAT, part.name))
    x = np.random.default_rng(0).standard_normal((2, 40, 24, 1)).astype(np.float32)
    data = Dataset(["a0", "b0"], x, np.array([0, 1]), ["glad", "sad", "calm"], ["a", "b"])
    monkeypatch.setattr(dataset, "load", lambda: data)
    monkeypatch.setattr(splits, "read", lambda: folds)

    def run(*added: float) -> None:
        each = iter(added)

        def moved(model: tf_keras.Model) -> tf_keras.Model:
            folded = fold(model)
            kernel, bias = folded.get_layer("emotion").get_weights()
            bias[0] += next(each)
            folded.get_layer("emotion").set_weights([kernel, bias])
            return folded

        monkeypatch.setattr(stage, "fold", moved)
        stage.main()

    return run


def test_the_stage_measures_what_folding_changes_in_each_fold(
    folded_with: Callable[..., None],
) -> None:
    folded_with(0.0, 1e-5)
    report = json.loads(paths.FOLD_ERROR.read_text())
    assert 0 <= report["folds"]["speaker-a"] < 1e-6 < report["folds"]["speaker-b"] < 1e-5
    assert report["largest"] == report["folds"]["speaker-b"]
    assert len(list(paths.FOLDED.iterdir())) == 2


@pytest.mark.parametrize("added", [0.1, np.nan])
def test_the_stage_stops_at_a_fold_whose_function_has_changed_and_writes_nothing(
    folded_with: Callable[..., None], added: float
) -> None:
    with pytest.raises(ModelError, match="changes probabilities of fold speaker-b by"):
        folded_with(0.0, added)
    assert not paths.FOLD_ERROR.exists()
    assert [file.name for file in Path("models").iterdir()] == ["float"]
