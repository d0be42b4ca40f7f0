"""Where work runs does not show: processes of this machine, or a real Dask cluster of processes."""

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, voice
from scipy.io import wavfile
from threadpoolctl import threadpool_info

from pipeline import cache, features, manifest, workers
from pipeline.workers import VARIABLE, WorkersError

pytest.importorskip("distributed", reason="the package distributed is not installed")
import dask
from distributed import LocalCluster

CLIPS = 24


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("SERNET_CACHE", raising=False)


@pytest.fixture(scope="module", autouse=True)
def environment_as_before() -> Iterator[None]:
    """Dask sets numbers of threads for its workers, and leaves them in this process's environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes; a task may outlive the death of one of them, not of two."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture
def in_process() -> Iterator[Callable[..., str]]:
    """The address of a cluster that is threads of this process, for what is wrong before any work."""
    clusters = []

    def start(**settings: Any) -> str:
        clusters.append(LocalCluster(processes=False, dashboard_address=":0", protocol="tcp", **settings))  # fmt: skip
        return clusters[-1].scheduler_address

    yield start
    for one in clusters:
        one.close()


def leaves_a_trace(traces: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    (traces / str(os.getpid())).touch()
    return function(*arguments)


def is_killed_once(died: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """The first process to come here is killed after its work and before it can hand it over."""
    result = function(*arguments)
    try:
        died.touch(exist_ok=False)
    except FileExistsError:
        return result
    os.kill(os.getpid(), signal.SIGKILL)


def is_killed(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fails(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def surroundings() -> tuple[list[int], Path, Path]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info()], Path.cwd(), cache.directory()


@pytest.fixture
def stage(
    write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:  # fmt: skip
    """The features stage on a corpus of noises; it gives what it prints."""
    monkeypatch.chdir(write_params().parent)
    Path("data/clips").mkdir(parents=True)
    clips = [f"c{number:02}" for number in range(CLIPS)]
    for number, clip in enumerate(clips):
        wavfile.write(f"data/clips/{clip}.wav", 16000, voice(number))
    rows = pd.DataFrame({"clip": clips, "sha256": clips}).reindex(columns=manifest.COLUMNS)
    manifest.write(rows, Path("data/manifest.csv"))

    def run() -> str:
        features.main()
        return capsys.readouterr().out

    return run


def written() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path("data/features").iterdir()}


def everywhere(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> list[Any]:  # fmt: skip
    """What `run` gives in this process, in processes of this machine, and on the cluster."""
    monkeypatch.setattr(workers, "cpu_count", lambda: 1)
    results = [run()]
    monkeypatch.setattr(workers, "cpu_count", lambda: 2)
    results.append(run())
    monkeypatch.setenv(VARIABLE, cluster.scheduler_address)
    return [*results, run()]


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "a worker killed"])
def test_a_cluster_makes_the_same_features(
    killed: bool, cluster: LocalCluster, stage: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    traces = {place: tmp_path / place for place in ("here", "cluster")}
    died = tmp_path / "died"
    attempt = features.attempt
    for folder in traces.values():
        folder.mkdir()

    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "cache of here"))
    monkeypatch.setattr(features, "attempt", partial(leaves_a_trace, traces["here"], attempt))
    assert f"{CLIPS} computed, 0 from the cache" in stage()
    local = written()

    monkeypatch.setenv("SERNET_CACHE", str(tmp_path / "cache of the cluster"))
    monkeypatch.setenv(VARIABLE, cluster.scheduler_address)
    traced = partial(leaves_a_trace, traces["cluster"], attempt)
    monkeypatch.setattr(features, "attempt", partial(is_killed_once, died, traced) if killed else traced)  # fmt: skip
    stage()
    assert written() == local
    assert died.exists() == killed
    here, there = ({file.name for file in folder.iterdir()} for folder in traces.values())
    assert there
    assert there.isdisjoint(here | {str(os.getpid())})

    # What a cluster has computed is recalled here: the keys are the same too.
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(features, "attempt", attempt)
    assert f"0 computed, {CLIPS} from the cache" in stage()


def test_large_arrays_have_the_same_digest_everywhere(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [(np.full(500_000, number, np.float32),) for number in range(3)]
    digests = everywhere(cluster, monkeypatch, lambda: list(workers.run(joblib.hash, arrays)))
    assert digests == [[joblib.hash(array) for (array,) in arrays]] * 3
    # The negative control: as joblib hands them over by itself, they have another.
    by_joblib = joblib.Parallel(n_jobs=2)(joblib.delayed(joblib.hash)(*array) for array in arrays)
    assert by_joblib != digests[0]


def test_a_call_has_one_thread_this_folder_and_its_cache(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[()]] = [(), ()]
    for kept in ("kept", None):
        with monkeypatch.context() as patch:
            if kept:
                patch.setenv("SERNET_CACHE", kept)
            for found in everywhere(cluster, patch, lambda: list(workers.run(surroundings, calls))):
                for threads, folder, cached in found:
                    assert threads
                    assert set(threads) == {1}
                    assert folder == tmp_path
                    assert cached == tmp_path / (kept or "data/cache")


def test_an_error_is_the_functions_own(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[int]:
        done: list[int] = []
        with pytest.raises(ValueError, match="three"):
            for result in workers.run(fails, [(number,) for number in range(6)]):
                done.append(result)
        return done

    alone, *beside = everywhere(cluster, monkeypatch, said)
    assert alone == [0, 1, 2]
    assert all(done == alone[: len(done)] for done in beside)
    # and the cluster goes on
    assert list(workers.run(fails, [(number,) for number in (5, 4)])) == [5, 4]


def test_a_task_that_ends_its_workers_is_given_up(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, cluster.scheduler_address)
    with pytest.raises(WorkersError, match="a task ended 2 Dask workers, expected them to live"):
        list(workers.run(is_killed, [(0,)]))


def test_a_task_that_ends_its_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(WorkersError, match="ended from outside, most likely for want of memory"):
        list(workers.run(is_killed, [(0,), (1,)], jobs=2))
    assert list(workers.run(abs, [(-1,), (2,)], jobs=2)) == [
        1,
        2,
    ]  # the next ones have new processes


@contextlib.contextmanager
def apart(start: str) -> Iterator[tuple[int, str]]:
    """A cluster in another process than this one, after the statements `start`: process, address."""
    script = f"if __name__ == '__main__':\n    from distributed import LocalCluster; {start}; print(c.scheduler_address, flush=True); input()"  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT / "tests")}, cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()
        process.kill()


def kills(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_a_cluster_that_goes_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with apart("c = LocalCluster(1, threads_per_worker=1, dashboard_address=':0')") as (
        pid,
        address,
    ):
        monkeypatch.setenv(VARIABLE, address)
        monkeypatch.setattr(workers, "PATIENCE", 2.0)
        with pytest.raises(WorkersError, match="SERNET_DASK went away"):
            list(workers.run(kills, [(pid,)]))


@pytest.mark.parametrize("processes", [True, False], ids=["scheduler", "workers"])
def test_a_cluster_without_the_project_is_refused(
    processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = f"import sys; sys.modules['pipeline'] = None; c = LocalCluster(1, threads_per_worker=1, processes={processes}, protocol='tcp', dashboard_address=':0')"  # fmt: skip
    with apart(start) as (_, address):
        assert "lacks a package" in refused(address, monkeypatch)


def refused(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of the cluster at `address`, in one line."""
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(WorkersError) as error:
        list(workers.run(fails, [(0,)]))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:8786", "tcp://", "tcp://localhost", "tcp://localhost:x", "nonsense", "ftp://localhost:1"])  # fmt: skip
def test_an_address_without_a_scheduler_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    said = refused(address, monkeypatch)
    assert said.startswith(f"no Dask scheduler answers at SERNET_DASK={address} (")
    assert "expected one as in tcp://host:8786" in said


def test_a_listener_that_is_no_scheduler_ends_a_stage_in_one_line() -> None:
    work = "from pipeline import errors, workers; workers.PATIENCE = 1.0; errors.run(lambda: list(workers.run(abs, [(1,)])))"  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", work], env={**os.environ, VARIABLE: address}, cwd=ROOT,
            text=True, capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"sernet: error: no Dask scheduler answers at SERNET_DASK={address}"
    )
    assert done.stderr.count("\n") == 1


def test_without_distributed_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'distributed'" in refused("tcp://localhost:8786", monkeypatch)


def test_a_cluster_without_workers_is_refused(
    in_process: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RESTART", 0.5)
    assert "has no workers, expected one" in refused(in_process(n_workers=0), monkeypatch)


def test_a_cluster_of_one_worker_does_the_work(
    in_process: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.get_ident()
    assert list(workers.run(threading.get_ident, [()])) == [here]  # the negative control
    monkeypatch.setenv(VARIABLE, in_process(n_workers=1, threads_per_worker=1))
    assert here not in workers.run(threading.get_ident, [(), ()])


def test_a_cluster_works_within_a_running_event_loop_as_of_a_notebook(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, cluster.scheduler_address)

    async def cell() -> list[int]:
        return list(workers.run(fails, [(0,), (1,)]))

    assert asyncio.run(cell()) == [0, 1]


def test_workers_that_run_two_tasks_at_once_are_refused(
    in_process: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = in_process(n_workers=1, threads_per_worker=2)
    assert "runs 2 tasks in one process, expected 1" in refused(address, monkeypatch)


def test_workers_in_other_surroundings_are_refused(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workers.py").write_text("other code")
    version = importlib.metadata.version
    others = {
        "python": (platform, "python_version", lambda: "2.7"),
        "numpy": (
            importlib.metadata,
            "version",
            lambda name: "1.0" if name == "numpy" else version(name),
        ),
        "processor": (workers, "threadpool_info", lambda: [{"architecture": "Abacus"}]),
        "code": (workers, "__file__", str(tmp_path / "workers.py")),
    }
    monkeypatch.setenv(VARIABLE, cluster.scheduler_address)
    assert list(workers.run(fails, [(0,)])) == [0]  # the negative control: they are the same here
    for name, (module, attribute, value) in others.items():
        with monkeypatch.context() as patch:
            # It is this process that becomes another one; the workers, each its own, stay.
            patch.setattr(module, attribute, value)
            said = refused(cluster.scheduler_address, patch)
        assert re.search(rf"has [^:]*\b{name} .*, expected [^:]*\b{name} ", said), said
    assert workers._surroundings(tmp_path / "none")["folder"] != workers._surroundings(tmp_path)["folder"]  # fmt: skip
