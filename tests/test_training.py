"""Training: the paper's network, losses and schedule; and a test fold that decides nothing."""

import math

import numpy as np
import pytest
import tf_keras

from pipeline.models import lightsernet, losses, schedule, training
from pipeline.models.training import Data, Outcome
from pipeline.params import Model, Params, Train

PAPER = Model(
    stem_filters=32, body_filters=[64, 96, 128, 160], head_filters=320,
    dropout=0.3, l2=1e-6, bn_momentum=0.99,
)  # fmt: skip


def test_the_network_has_the_papers_parameters_and_shapes() -> None:
    model = lightsernet.build(184, 40, 7, PAPER)
    assert model.count_params() == 463_431
    shapes = {
        layer.name: layer.output_shape[1:] for layer in model.layers if layer.name.endswith("_pool")
    }
    assert shapes == {
        "time_pool": (92, 20, 32), "frequency_pool": (92, 20, 32), "both_pool": (92, 20, 32),
        "body1_pool": (46, 10, 64), "body2_pool": (23, 5, 96), "body3_pool": (12, 5, 128),
        "body4_pool": (6, 5, 160), "head_pool": (320,),
    }  # fmt: skip


@pytest.mark.parametrize(("frames", "millions"), [(184, 159), (434, 376)])
def test_the_cost_is_what_was_counted_by_hand(frames: int, millions: int) -> None:
    assert round(lightsernet.macs(lightsernet.build(frames, 40, 7, PAPER)) / 1e6) == millions


def test_the_schedule_is_the_papers(toy: Params) -> None:
    p = toy.train.model_copy(
        update={"learning_rate": 1e-4, "hold_epochs": 50, "decay_epochs": 20, "decay": 0.15}
    )
    assert [schedule.learning_rate(epoch, p) for epoch in (0, 49)] == [1e-4, 1e-4]
    assert schedule.learning_rate(50, p) == pytest.approx(1e-4 * math.exp(-0.15))
    assert schedule.learning_rate(69, p) == pytest.approx(1e-4 * math.exp(-0.15))
    assert schedule.learning_rate(70, p) == pytest.approx(1e-4 * math.exp(-0.30))
    assert schedule.learning_rate(299, p) == pytest.approx(1e-4 * math.exp(-0.15 * 13))


def test_focal_loss_of_a_hand_computed_case(toy: Params) -> None:
    p = toy.train.model_copy(update={"loss": "focal", "focal_gamma": 2.0})
    y, q = np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    by_hand = (0.5**2 * math.log(2) + 0.2**2 * -math.log(0.8)) / 2
    assert float(losses.make(p)(y, q)) == pytest.approx(by_hand, rel=1e-6)


def test_focal_loss_without_gamma_is_cross_entropy(toy: Params) -> None:
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.ones(5), 20).astype(np.float32)
    y = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 20)]
    flat = toy.train.model_copy(update={"loss": "focal", "focal_gamma": 0.0})
    ours = float(losses.make(flat)(y, q))
    assert ours == pytest.approx(float(tf_keras.losses.CategoricalCrossentropy()(y, q)), rel=1e-5)
    assert float(losses.make(toy.train.model_copy(update={"loss": "focal"}))(y, q)) < ours


def clips(seed: int, n: int = 48) -> Data:
    """Noise that is twice as strong in the third of the bins that is the class's."""
    y = np.arange(n) % 3
    x = np.random.default_rng(seed).standard_normal((n, 40, 24, 1))
    for clip, label in zip(x, y, strict=True):
        clip[:, 8 * label : 8 * label + 8] *= 1.9
    return Data(x.astype(np.float32), y)


def fit(
    toy: Params, validation: Data | None = None, test: Data | None = None, **changes: object
) -> Outcome:
    """Six epochs at a rate at which accuracy moves from one to the next."""
    p: Train = toy.train.model_copy(
        update={"epochs": 6, "hold_epochs": 6, "learning_rate": 0.003, **changes}
    )
    return training.fit(
        clips(0), validation, test, 3, quick(toy), p, seed=1, version="", on_epoch=lambda: None
    )


def quick(toy: Params) -> Model:
    """Statistics that follow within the few steps of a toy run."""
    return toy.model.model_copy(update={"bn_momentum": 0.5})


def same(one: Outcome, other: Outcome) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))


def probabilities(toy: Params, outcome: Outcome, side: Data) -> np.ndarray:
    model = lightsernet.build(40, 24, 3, quick(toy))
    model.set_weights(outcome.weights)
    return training.predict(model, side.x)


def test_the_test_fold_changes_no_weight(toy: Params) -> None:
    without = fit(toy)
    assert same(without, fit(toy, test=clips(5)))
    assert same(without, fit(toy, test=clips(6)))


def test_the_papers_protocol_is_the_best_epoch_on_the_test_fold(toy: Params) -> None:
    test = clips(5)
    outcome = fit(toy, test=test)
    accuracy = [row["test_accuracy"] for row in outcome.history]
    assert len(set(accuracy)) > 2  # else every epoch is the best
    assert outcome.paper_epoch == 1 + int(np.argmax(accuracy))
    # A run that ends there ends with the same weights, and so with these probabilities.
    until_then = fit(toy, epochs=outcome.paper_epoch)
    np.testing.assert_allclose(
        outcome.paper_probabilities, probabilities(toy, until_then, test), atol=1e-6
    )


def test_without_validation_the_last_epoch_is_kept(toy: Params) -> None:
    outcome = fit(toy, test=clips(5))
    assert outcome.chosen_epoch == 6
    assert outcome.paper_epoch is not None
    assert not same(outcome, fit(toy, epochs=5))
    predicted = probabilities(toy, outcome, clips(5)).argmax(axis=1)
    assert outcome.history[-1]["test_accuracy"] == float(np.mean(predicted == clips(5).y))


def test_with_validation_its_best_epoch_is_kept(toy: Params) -> None:
    outcome = fit(toy, validation=clips(7), test=clips(5))
    accuracy = [row["validation_accuracy"] for row in outcome.history]
    assert len(set(accuracy)) > 2
    assert outcome.chosen_epoch == 1 + int(np.argmax(accuracy)) < 6
    assert same(outcome, fit(toy, epochs=outcome.chosen_epoch))
    assert not same(outcome, fit(toy))


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(toy: Params) -> None:
    first = fit(toy)
    fit(toy, batch_size=5)
    assert same(first, fit(toy))
    other = training.fit(
        clips(0), None, None, 3, quick(toy), toy.train, seed=2, version="", on_epoch=lambda: None
    )
    assert not same(first, other)


def test_bfloat16_trains_to_float32_weights(toy: Params) -> None:
    outcome = fit(toy, precision="bfloat16", epochs=8, learning_rate=1e-2)
    assert {weight.dtype for weight in outcome.weights} == {np.dtype(np.float32)}
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]
