"""Training: the paper's network, losses and schedule; and a test fold that decides nothing."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from pipeline.dataset import Data
from pipeline.models import lightsernet, losses, schedule, training
from pipeline.models.inference import predict
from pipeline.models.training import Outcome, Recipe
from pipeline.params import Model, Params

PAPER = Model(
    members=1, stem_filters=32, stem_pool=[2, 2], body="standard", body_filters=[64, 96, 128, 160], head_filters=320,
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


def test_a_separable_body_has_the_weights_and_the_cost_counted_by_hand() -> None:
    model = lightsernet.build(184, 40, 7, PAPER.model_copy(update={"body": "separable"}))
    channels = [96, 64, 96, 128, 160]
    rows, columns = [92, 46, 23, 12], [20, 10, 5, 5]
    weights = macs = 0
    for block, (seen, made) in enumerate(pairwise(channels)):
        of_block = 9 * seen + seen * made
        weights += of_block + 4 * (seen + made)  # four numbers a channel of batch normalisation
        macs += rows[block] * columns[block] * of_block
    stem = 32 * (11 + 9 + 9)
    assert model.count_params() == stem + 3 * 32 * 5 + weights + 160 * 320 + 4 * 320 + 320 * 7 + 7
    assert lightsernet.macs(model) == 184 * 40 * stem + macs + 6 * 5 * 160 * 320 + 320 * 7


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


def recipe(toy: Params, members: int = 1, **changes: object) -> Recipe:
    """Six epochs at a rate at which accuracy moves from one to the next."""
    augmented = {name: changes.pop(name) for name in list(changes) if hasattr(toy.augment, name)}
    train = {"epochs": 6, "hold_epochs": 6, "learning_rate": 0.003, **changes}
    return Recipe(
        toy.sample_rate,
        toy.features,
        quick(toy).model_copy(update={"members": members}),
        toy.train.model_copy(update=train),
        toy.augment.model_copy(update=augmented),
    )


def fit(
    toy: Params,
    validation: Data | None = None,
    test: Data | None = None,
    seed: int = 1,
    epochs_run: int | None = None,
    checkpoint: Path | None = None,
    on_resume: Callable[[int], object] = lambda done: None,
    on_epoch: Callable[[], object] = lambda: None,
    **changes: object,
) -> Outcome:
    return training.fit(
        clips(0), validation, test, 3, recipe(toy, **changes), seed,
        epochs=epochs_run, checkpoint=checkpoint, on_resume=on_resume, on_epoch=on_epoch,
    )  # fmt: skip


def quick(toy: Params) -> Model:
    """Statistics that follow within the few steps of a toy run."""
    return toy.model.model_copy(update={"bn_momentum": 0.5})


def same(one: Outcome, other: Outcome) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))


def probabilities(toy: Params, outcome: Outcome, side: Data) -> np.ndarray:
    model = lightsernet.build(40, 24, 3, quick(toy))
    model.set_weights(outcome.weights)
    return predict(model, side.x)


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
    until_then = fit(toy, epochs_run=outcome.paper_epoch)
    np.testing.assert_allclose(
        outcome.paper_probabilities, probabilities(toy, until_then, test), atol=1e-6
    )


def test_without_validation_the_last_epoch_is_kept(toy: Params) -> None:
    outcome = fit(toy, test=clips(5))
    assert outcome.chosen_epoch == 6
    assert outcome.paper_epoch is not None
    assert not same(outcome, fit(toy, epochs_run=5))
    predicted = probabilities(toy, outcome, clips(5)).argmax(axis=1)
    assert outcome.history[-1]["test_accuracy"] == float(np.mean(predicted == clips(5).y))


def test_with_validation_its_best_epoch_is_kept(toy: Params) -> None:
    outcome = fit(toy, validation=clips(7), test=clips(5), learning_rate=0.006)
    accuracy = [row["validation_accuracy"] for row in outcome.history]
    assert len(set(accuracy)) > 2
    assert outcome.chosen_epoch == 1 + int(np.argmax(accuracy)) < 6
    assert same(outcome, fit(toy, learning_rate=0.006, epochs_run=outcome.chosen_epoch))
    assert not same(outcome, fit(toy, learning_rate=0.006))


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(toy: Params) -> None:
    first = fit(toy)
    fit(toy, batch_size=5)
    assert same(first, fit(toy))
    other = fit(toy, seed=2)
    assert not same(first, other)


def test_folds_that_share_a_graph_have_the_bits_of_folds_with_their_own(toy: Params) -> None:
    training._steps.clear()
    outcomes = [fit(toy, seed=seed) for seed in (1, 2)]
    (shared,) = training._steps.values()
    assert shared.run.experimental_get_tracing_count() == 1
    for seed, outcome in enumerate(outcomes, 1):
        training._steps.clear()
        assert same(outcome, fit(toy, seed=seed))
    assert list(training._steps.values()) != [shared]


def test_bfloat16_trains_to_float32_weights(toy: Params) -> None:
    outcome = fit(toy, precision="bfloat16", epochs=8, learning_rate=1e-2)
    assert {weight.dtype for weight in outcome.weights} == {np.dtype(np.float32)}
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]


CHANGES: list[dict[str, object]] = [
    {"mixup": 0.5}, {"hold_epochs": 1}, {"weight_decay": 0.5}, {"loss": "focal"},
    {"label_smoothing": 0.3}, {"precision": "bfloat16"},
]  # fmt: skip


def test_what_the_recipe_says_reaches_the_weights(toy: Params) -> None:
    unchanged = fit(toy, epochs_run=2)
    assert [change for change in CHANGES if same(unchanged, fit(toy, epochs_run=2, **change))] == []


def test_kernels_alone_decay(toy: Params) -> None:
    network = lightsernet.build(40, 24, 3, quick(toy))
    shifted = [weight + 0.1 for weight in network.get_weights()]  # a bias of zero decays to zero
    stepped = []
    for decay in (0.0, 0.5):
        p = recipe(toy, weight_decay=decay, batch_size=len(clips(0)))
        of_one_step = training._Training(clips(0), {}, 3, p, seed=1)
        of_one_step.resume(training._Progress(shifted, shifted))
        of_one_step.epoch()
        stepped.append(of_one_step.progress.weights)
    moved, left = set(), set()
    for variable, plain, decayed in zip(network.weights, *stepped, strict=True):
        of_its_kind = left if np.array_equal(plain, decayed) else moved
        of_its_kind.add(variable.name.rpartition("/")[2])
    assert moved == {"kernel:0"}
    assert left == {"bias:0", "gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"}


def test_each_step_is_taken_at_the_schedules_rate(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = recipe(toy, schedule="one_cycle", epochs=2, warm_up_epochs=1.0, batch_size=16)
    one = training._Training(clips(0), {}, 3, p, seed=1)
    rates: list[float] = []

    def step(*batch: np.ndarray) -> dict[str, float]:
        rates.append(float(one._step.optimizer.learning_rate.numpy()))
        return {"loss": 0.0, "accuracy": 0.0}

    monkeypatch.setattr(one._step, "run", step)
    one.epoch()
    one.epoch()
    assert rates == pytest.approx([schedule.learning_rate(k / 3, p.train) for k in range(6)])
    assert len(set(rates)) == 6


@pytest.mark.parametrize(("dropout", "values"), [(0.0, [1.0]), (0.3, [0.0, 1 / 0.7])])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(
    toy: Params, dropout: float, values: list[float]
) -> None:
    p = toy.model.model_copy(update={"dropout": dropout})
    mask = lightsernet.dropout_mask(2000, p, np.random.default_rng(0))
    assert mask.shape == (2000, p.head_filters)
    assert np.unique(mask).tolist() == pytest.approx(values)
    # Of 24,000 draws; five standard deviations are 0.015.
    assert np.mean(mask == 0) == pytest.approx(dropout, abs=0.015)


def test_one_cycle_climbs_to_the_rate_and_falls_to_nothing(toy: Params) -> None:
    p = toy.train.model_copy(
        update={
            "schedule": "one_cycle", "epochs": 60, "warm_up_epochs": 5.0, "learning_rate": 2e-3,
        }
    )  # fmt: skip
    rates = [schedule.learning_rate(epoch / 10, p) for epoch in range(600)]
    assert rates[25] == pytest.approx(1e-3)
    assert max(rates) == rates[50] == pytest.approx(2e-3)
    assert schedule.learning_rate(32.5, p) == pytest.approx(1e-3)  # half way down
    assert 0 < rates[-1] < 1e-7
    assert rates[0] > 0


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_label_smoothing_spreads_a_share_of_the_label(toy: Params, gamma: float) -> None:
    kind = {"loss": "focal", "focal_gamma": gamma} if gamma else {"loss": "cross_entropy"}
    y, q = np.array([[1.0, 0, 0, 0]]), np.array([[0.7, 0.1, 0.1, 0.1]])
    smoothed = np.array([[0.85, 0.05, 0.05, 0.05]])  # by hand: 0.2 spread over four
    p = toy.train.model_copy(update=kind)
    value = float(losses.make(p.model_copy(update={"label_smoothing": 0.2}))(y, q))
    assert value == pytest.approx(float(losses.make(p)(smoothed, q)), rel=1e-5)
    assert value > float(losses.make(p)(y, q))


def test_the_last_epochs_are_averaged_with_their_statistics(toy: Params) -> None:
    ends = [fit(toy, epochs_run=epochs).weights for epochs in (4, 5, 6)]
    averaged = fit(toy, averaged_epochs=3).weights
    for mean, parts in zip(averaged, zip(*ends, strict=True), strict=True):
        np.testing.assert_allclose(mean, np.mean(parts, axis=0), rtol=1e-5, atol=1e-7)
    assert not np.allclose(averaged[0], ends[-1][0], atol=1e-5)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_let_a_rare_class_weigh_as_much_as_the_others(
    toy: Params, weighted: bool, members: int
) -> None:
    kept = [*np.flatnonzero(clips(0).y != 2), 2, 5]  # 16, 16 and 2 clips
    rare = Data(clips(0).x[kept], clips(0).y[kept])
    p = recipe(toy, members, class_weights=weighted, batch_size=len(rare))
    first = training.fit(rare, None, None, 3, p, 1, epochs=1).history[0]
    # The one step of that epoch, by hand.
    rng = np.random.default_rng((1, 0))
    order = rng.permutation(len(rare))
    network = lightsernet.build(40, 24, 3, p.model, 1)
    mask = lightsernet.dropout_mask(len(rare), p.model, rng)
    q = lightsernet.for_training(network)([rare.x[order], mask], training=True).numpy()
    y = np.tile(rare.y[order], members)  # each member's in turn
    weight = np.array([34 / 48, 34 / 48, 34 / 6])[y] if weighted else 1.0
    loss = np.mean(weight * -np.log(q[np.arange(len(y)), y])) + float(sum(network.losses))
    assert first["train_loss"] == pytest.approx(loss, rel=1e-4)


def test_training_stops_when_the_inner_speaker_has_waited_long_enough(toy: Params) -> None:
    whole = fit(toy, validation=clips(7), learning_rate=0.03)
    accuracy = [row["validation_accuracy"] for row in whole.history]
    best = int(np.argmax(accuracy))
    assert best + 1 < 5  # so that there is something to wait for
    stopped = fit(toy, validation=clips(7), learning_rate=0.03, patience=1)
    first_wait = next(n for n in range(1, 6) if accuracy[n] <= max(accuracy[:n]))
    assert len(stopped.history) == first_wait + 1
    assert stopped.history == whole.history[: first_wait + 1]


class Killed(Exception):
    pass


@pytest.mark.parametrize(("killed_after", "members"), [(1, 1), (4, 1), (4, 2)])
def test_an_interrupted_training_goes_on_inside_the_fold_and_ends_with_the_same_bits(
    toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int, members: int
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    # Everything that draws or remembers: dropout, augmentation, the mean of weights, the best epochs.
    changes = {
        "members": members, "averaged_epochs": 3, "time_shift": 0.2, "mixup": 0.3, "validation": clips(7), "test": clips(5),
    }  # fmt: skip
    undisturbed, file = fit(toy, **changes), tmp_path / "checkpoint"
    epochs = 0

    def count() -> None:
        nonlocal epochs
        epochs += 1

    def until_killed() -> None:
        count()
        if epochs == killed_after + 1:
            raise Killed  # before this epoch's checkpoint

    with pytest.raises(Killed):
        fit(toy, **changes, checkpoint=file, on_epoch=until_killed)
    assert [left.name for left in tmp_path.glob("checkpoint*")] == ["checkpoint"]
    fit(toy, epochs_run=1)  # another training in between
    epochs, at = 0, []
    resumed = fit(toy, **changes, checkpoint=file, on_resume=at.append, on_epoch=count)
    assert at == [killed_after]
    assert killed_after + epochs == 6
    assert same(undisturbed, resumed)
    assert resumed.history == undisturbed.history
    assert resumed.paper_epoch == undisturbed.paper_epoch
    np.testing.assert_array_equal(resumed.paper_probabilities, undisturbed.paper_probabilities)


@pytest.mark.parametrize("patience", [None, 1])
def test_a_training_that_was_over_when_it_was_interrupted_learns_no_more(
    toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int | None
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    file, at = tmp_path / "checkpoint", []
    changes = {
        "validation": clips(7),
        "learning_rate": 1e-9,
        "patience": patience,
    }  # none gets better
    ended = fit(toy, **changes, checkpoint=file)
    again = fit(
        toy, **changes, checkpoint=file, on_resume=at.append, on_epoch=lambda: at.append(-1)
    )
    assert at == [len(ended.history)]
    assert len(ended.history) == (6 if patience is None else 2)
    assert again.history == ended.history
    assert again.chosen_epoch == ended.chosen_epoch
