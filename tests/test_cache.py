"""What is kept between runs is recalled for the same data by the same code, and for no other."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cloudpickle
import imports
import numpy as np
import pytest
from conftest import ROOT
from scipy.io import wavfile

from pipeline import cache, dataset, params, workers
from pipeline.audio import front_end
from pipeline.audio.front_end import CachedFrontEnd
from pipeline.dataset import Data, Dataset
from pipeline.errors import SernetError, StaleCodeError
from pipeline.models import files, fine_tuning, folds, qat, training
from pipeline.models.folds import Job
from pipeline.models.qat import Tuned
from pipeline.models.training import Recipe
from pipeline.params import Params, Quantize
from pipeline.splits import Fold


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of the test's own; what is computed is counted in this process."""
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workers, "cpu_count", lambda: 1)


def noise(seed: int) -> Data:
    x = np.random.default_rng(seed).standard_normal((6, 40, 24, 1)).astype(np.float32)
    return Data(x, np.arange(6) % 3)


def test_other_clips_or_other_code_are_trained_though_the_seed_is_the_same(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def epoch(self: training._Training) -> None:
        trained.append(1)
        self.progress.history.append({"epoch": len(self.progress.history) + 1, "test_accuracy": 0.0})  # fmt: skip

    monkeypatch.setattr(training._Training, "epoch", epoch)
    recipe = Recipe(toy.sample_rate, toy.features, toy.model, toy.train, toy.augment)

    def trainings(train: Data, validation: Data | None = None, test: Data | None = None) -> float:
        trained.clear()
        list(folds.train([Job("fold", lambda: (train, validation, test), seed=0)], 3, recipe))
        return len(trained) / recipe.train.epochs

    assert [trainings(noise(0)), trainings(noise(0))] == [1, 0]
    assert [trainings(noise(1)), trainings(noise(0))] == [1, 0]
    assert trainings(Data(noise(0).x, noise(0).y[::-1])) == 1
    assert trainings(noise(0), noise(1)) == trainings(noise(0), noise(2)) == 1
    assert trainings(noise(0), None, noise(1)) == trainings(noise(0), None, noise(2)) == 1
    with monkeypatch.context() as later:
        later.setattr(folds, "CODE", "other code")
        assert [trainings(noise(0)), trainings(noise(0))] == [1, 0]
    # What the first code had done stays, as for an experiment of another revision beside this one.
    assert trainings(noise(0)) == 0


@pytest.fixture
def tunings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """How many fine-tunings a fold costs."""
    tuned: list[int] = []

    def fine_tune(
        folded_config: str, folded_weights: list[np.ndarray], train: Data, teacher: np.ndarray,
        classes: int, p: Quantize, seed: int, on_epoch: Callable[[], object],
    ) -> Tuned:  # fmt: skip
        tuned.append(1)
        return Tuned([], [])

    monkeypatch.setattr(qat, "fine_tune", fine_tune)
    folded = SimpleNamespace(to_json=lambda: "{}", get_weights=lambda: [np.zeros(1)])
    monkeypatch.setattr(files, "load", lambda file: folded)

    def run(p: Quantize, clips: Data, code: str = "", seed: int = 0, said: float = 0.5) -> int:
        tuned.clear()
        monkeypatch.setattr(fine_tuning, "CODE", code)
        data = Dataset(list("abcdef"), clips.x, clips.y, ["glad", "sad"], list("xxxyyy"))
        monkeypatch.setattr(dataset, "load", lambda: data)
        monkeypatch.setattr(fine_tuning, "predict", lambda model, x: np.full((len(x), 2), said))
        list(fine_tuning.tune([Fold("speaker-y", list("abc"), [], list("def"))], p, seed))
        return len(tuned)

    return run


def test_other_clips_or_other_code_are_fine_tuned_though_the_model_is_the_same(
    toy: Params, tunings: Callable[..., int]
) -> None:
    p, clips = toy.quantize, noise(0)
    assert [tunings(p, clips), tunings(p, clips)] == [1, 0]
    assert tunings(p, noise(1)) == 1
    assert tunings(p, Data(clips.x, clips.y[::-1])) == 1
    assert tunings(p, clips, said=0.4) == 1
    assert tunings(p, clips, seed=1) == 1
    assert tunings(p.model_copy(update={"distill": 0.5}), clips) == 1
    assert [tunings(p, clips, "other code"), tunings(p, clips, "other code")] == [1, 0]


def test_features_are_computed_again_by_other_code(
    toy: Params, tone: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wavfile.write(tmp_path / "clip.wav", 16000, tone)

    def known() -> bool:
        end = CachedFrontEnd(1.0, 16000, toy.features)
        before = end.known(tmp_path / "clip.wav", "digest")
        end(tmp_path / "clip.wav", "digest")
        return before

    assert [known(), known()] == [False, True]
    monkeypatch.setattr(front_end, "CODE", "other code")
    assert [known(), known()] == [False, True]


COMPUTE_NOTHING = {"pipeline/models/__init__.py", "pipeline/audio/__init__.py"}


@pytest.mark.parametrize(
    ("keeps", "computes"),
    [
        (front_end, "pipeline.audio.front_end"),
        (folds, "pipeline.models.training"),
        (fine_tuning, "pipeline.models.qat"),
    ],
)
def test_the_code_that_a_key_stands_for_is_all_that_computes_the_result(
    keeps: ModuleType, computes: str
) -> None:
    given = {Path(inspect.getfile(part)).relative_to(ROOT).as_posix() for part in keeps.PARTS}
    computing = {file for file in imports.reached(computes) if file.startswith(("pipeline/models/", "pipeline/audio/"))}  # fmt: skip
    assert len(computing - COMPUTE_NOTHING) > 1
    assert computing - COMPUTE_NOTHING <= given
    assert cache.code_version(*keeps.PARTS) != cache.code_version(*keeps.PARTS[1:])


def test_parameters_that_work_something_out_are_part_of_the_code_that_a_key_stands_for() -> None:
    sections = [value for value in vars(params).values() if isinstance(value, type) and issubclass(value, params.Section)]  # fmt: skip
    working = {
        of for of in sections if any(isinstance(value, property) for value in vars(of).values())
    }
    assert working == {params.Features, params.Augment}  # another has to be added to the parts
    assert working <= {*folds.PARTS}
    assert params.Features in front_end.PARTS


@pytest.mark.parametrize("module", [front_end, folds, fine_tuning])
def test_a_worker_that_has_other_code_than_the_stage_says_so(
    toy: Params, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes to a worker is packed as joblib and Dask pack it, and unpacked beside other code."""
    recipe = Recipe(toy.sample_rate, toy.features, toy.model, toy.train, toy.augment)
    job = Job("fold", lambda: (noise(0), None, None), seed=0)
    fold = Fold("speaker-y", list("abc"), [], list("def"))
    calls = {
        front_end: (CachedFrontEnd(1.0, 16000, toy.features), (Path("clip.wav"), "digest")),
        folds: (folds._train, (job, 3, recipe, folds.CODE)),
        fine_tuning: (fine_tuning._tune, (fold, toy.quantize, 0, fine_tuning.CODE)),
    }
    packed = cloudpickle.dumps(calls[module])
    monkeypatch.setattr(module, "CODE", "edited since")
    function, arguments = cloudpickle.loads(packed)
    with pytest.raises(StaleCodeError, match=r"the code changed while this ran, .*: run it again"):
        function(*arguments)


def test_a_cache_that_cannot_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "file"))
    with pytest.raises(SernetError, match=r"cannot keep results in .*file .*set SERNET_CACHE to"):
        cache.directory()
    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "folder"))
    assert cache.directory().is_dir()
    monkeypatch.setattr(cache.os, "access", lambda *_: False)
    with pytest.raises(SernetError, match=r"cannot write to .*folder"):
        cache.directory()


def test_a_version_follows_from_the_source_and_from_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions: dict[str, Any] = {"numpy": "1", "scipy": "1"}
    monkeypatch.setattr(cache.importlib.metadata, "version", versions.__getitem__)
    monkeypatch.syspath_prepend(tmp_path)

    def version(*sources: str) -> str:
        parts = []
        for number, source in enumerate(sources):
            name = f"part_{len(list(tmp_path.iterdir()))}_{number}"
            (tmp_path / f"{name}.py").write_text(source)
            parts.append(importlib.import_module(name))
        return cache.code_version(*parts, packages=("numpy", "scipy"))

    one = version("x = 1", "x = 1")
    assert version("x = 1", "x = 1") == one
    seen = {one, version("x = 2", "x = 1"), version("x = 1", "x = 2")}
    versions["scipy"] = "2"
    seen.add(version("x = 1", "x = 1"))
    assert len(seen) == 4


def test_what_cannot_be_kept_is_computed_without_a_word(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").symlink_to(tmp_path / "nowhere" / "file")  # to write it is an error
    kept = (
        f"from joblib import Memory; print(Memory({str(tmp_path)!r}, verbose=0).cache(len)('abc'))"
    )

    def run(code: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    said, warned = run(kept)
    assert said == "3\n" and "Unable to write" in warned
    assert run(f"import pipeline.cache; {kept}") == ("3\n", "")
