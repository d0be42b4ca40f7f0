"""Folds that train side by side: the same bits as one after the other, and nothing twice."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import splits, train, workers
from pipeline.dataset import Data
from pipeline.errors import DivergedError
from pipeline.models import folds, training
from pipeline.models.folds import Job
from pipeline.models.training import Outcome, Recipe
from pipeline.params import Params

FRAMES, BINS, CLASSES = 40, 24, 3


def clips(seed: int, n: int = 24) -> Data:
    y = np.arange(n) % CLASSES
    x = np.random.default_rng(seed).standard_normal((n, FRAMES, BINS, 1)).astype(np.float32)
    return Data(x + y[:, np.newaxis, np.newaxis, np.newaxis].astype(np.float32), y)


def held(*sides: Data | None) -> Callable[[], Any]:
    return lambda: sides


@pytest.fixture
def recipe(toy: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Of two short epochs; what is trained is kept in a folder of the test's own."""
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "cache"))
    return Recipe(toy.sample_rate, toy.features, toy.model, toy.train, toy.augment)


def same(one: Outcome, other: Outcome) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))


def test_folds_side_by_side_have_the_bits_of_folds_one_after_the_other(recipe: Recipe) -> None:
    jobs = [Job(f"fold {n}", held(clips(n), None, clips(9)), seed=n) for n in range(3)]
    beside = list(folds.train(jobs, CLASSES, recipe))
    alone = [training.fit(*job.sides(), CLASSES, recipe, job.seed) for job in jobs]
    assert [same(one, other) for one, other in zip(beside, alone, strict=True)] == [True] * 3
    assert not same(beside[0], beside[1])
    for one, other in zip(beside, alone, strict=True):
        np.testing.assert_array_equal(one.paper_probabilities, other.paper_probabilities)


def kill_one_at_work(address: str, killed: list[int]) -> None:
    """Kill the first worker of the cluster that has something to do."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        while not (busy := [worker for worker, keys in client.processing().items() if keys]):
            time.sleep(0.05)
        pid = client.run(os.getpid, workers=busy[:1])[busy[0]]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def test_folds_on_a_cluster_that_loses_a_worker_have_the_same_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="the package distributed is not installed")  # fmt: skip
    jobs = [Job(f"fold {n}", held(clips(n), None, clips(9)), seed=n) for n in range(3)]
    here = list(folds.train(jobs, CLASSES, recipe))
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "another"))  # so that nothing is recalled
    killed: list[int] = []
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster:
        monkeypatch.setenv(workers.VARIABLE, cluster.scheduler_address)
        killer = threading.Thread(target=kill_one_at_work, args=(cluster.scheduler_address, killed))
        killer.start()
        there = list(folds.train(jobs, CLASSES, recipe))
        killer.join()
    assert killed
    assert [same(one, other) for one, other in zip(here, there, strict=True)] == [True] * 3
    kept = tmp_path / "another" / folds.CODE
    assert len(list(kept.rglob("output.pkl"))) == 3
    assert not list(kept.glob("checkpoints/*"))


def test_what_was_trained_is_recalled_and_what_was_not_is_trained(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(f"fold {n}", held(clips(n), None, None), seed=n) for n in range(2)]
    first = list(folds.train(jobs[:1], CLASSES, recipe))
    trained: list[int] = []
    real = training._Training.epoch

    def counted(self: training._Training) -> None:
        trained.append(self._seed)
        real(self)

    monkeypatch.setattr(training._Training, "epoch", counted)
    monkeypatch.setattr(
        workers, "cpu_count", lambda: 1
    )  # in this process, where epochs are counted
    again = list(folds.train(jobs, CLASSES, recipe))
    assert same(first[0], again[0])
    assert trained == [1] * recipe.train.epochs


class Killed(Exception):
    pass


def test_a_checkpoint_is_used_by_its_own_training_alone(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(
        workers, "cpu_count", lambda: 1
    )  # in this process, where epochs are counted
    jobs = [Job(f"fold {n}", held(clips(0), None, None), seed=n) for n in range(2)]
    checkpoints = tmp_path / "cache" / folds.CODE / "checkpoints"
    epochs: list[int] = []
    real = training._Training.epoch

    def counted(self: training._Training) -> None:
        real(self)
        epochs.append(self._seed)

    def killed(self: training._Training) -> None:
        if list(checkpoints.glob("*")):
            raise Killed
        real(self)

    monkeypatch.setattr(training._Training, "epoch", killed)
    with pytest.raises(Killed):
        list(folds.train(jobs[:1], CLASSES, recipe))
    assert len(list(checkpoints.glob("*"))) == 1
    monkeypatch.setattr(training._Training, "epoch", counted)
    list(folds.train(jobs[::-1], CLASSES, recipe))
    assert epochs == [1, 1, 0]  # of two epochs each, one of the second training was done
    assert not list(checkpoints.glob("*"))


def test_a_training_that_diverges_says_where_and_what_to_do(recipe: Recipe) -> None:
    x = clips(0).x
    x[0] = np.nan
    jobs = [Job("fold 0", held(Data(x, clips(0).y), None, None), seed=0)]
    with pytest.raises(DivergedError, match=r"fold 0: the loss of epoch 1 is nan.*learning_rate"):
        list(folds.train(jobs, CLASSES, recipe))


def test_the_final_model_trains_as_long_as_the_folds_found_good(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.DataFrame(
        [
            {"clip": f"{speaker}{n}", "label": "xyz"[n % 3], "speaker": speaker, "session": ""}
            for speaker in "abcd"
            for n in range(6)
        ]
    )
    asked: list[tuple[str, int | None]] = []
    chosen = {"a": 1, "b": 2, "c": 2, "d": 2}

    def trained(jobs: list[Job], classes: int, recipe: Recipe):  # type: ignore[no-untyped-def]
        for job in jobs:
            asked.append((job.name, job.epochs))
            epoch = chosen.get(job.name[-1], job.epochs)
            yield Outcome([], epoch, [], None, None)

    monkeypatch.setattr(folds, "train", trained)
    for inner, epochs in ((True, 2), (False, None)):
        asked.clear()
        p = splits.Split(leave_out="speaker", folds=2, inner_validation=inner)
        rows = splits.make(table.assign(paper_key=""), p)
        divided = [
            splits.Fold(name, *(list(part["clip"][part["role"] == role]) for role in ("train", "validation", "test")))
            for name, part in rows.groupby("fold", sort=False)
        ]  # fmt: skip
        assert len(list(train.train_all(divided, CLASSES, recipe, seed=0))) == 5
        assert asked[:4] == [(f"train: speaker-{name}", None) for name in "abcd"]
        assert asked[4] == ("train: final", epochs)
