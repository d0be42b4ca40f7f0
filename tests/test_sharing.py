"""Runs side by side, and runs that two people share through git and an S3 server."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from conftest import HANGS, environment, hollow_project, ran, results, set_params
from conftest import shell as real_shell
from moto.server import ThreadedMotoServer

SWEEP = {"shallow": 4096, "deep": 16384}  # bytes of stack


def shell(command: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command where the stages are those of `hollow`."""
    return real_shell(f"export PATH='{folder.parent}/bin':\"$PATH\"; {command}", folder, check)


@pytest.fixture
def hollow(tmp_path: Path) -> Path:
    """A project whose stages are stand-ins, after `dvc repro`, committed: what is tested is DVC's part."""
    folder = hollow_project(tmp_path / "sernet")
    shell("dvc repro && git add -A && git commit -qm results", folder)
    return folder


def users_of(cache: Path) -> list[psutil.Process]:
    """The processes that were started with this SERNET_CACHE."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SERNET_CACHE") == str(cache):
                found.append(process)
        except psutil.Error:  # it has ended, or is another user's
            continue
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that runs share; no process that uses it outlives the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SERNET_CACHE", str(folder))
    yield folder
    for process in users_of(folder):
        process.kill()


def worked_off(folder: Path, cache: Path, workers: int) -> str:
    """What `dvc queue status` says when nothing waits or runs any more."""
    end = time.monotonic() + HANGS
    while time.monotonic() < end:
        # A worker may end early, over a message that another is still writing, or may not end at
        # all, races within DVC: so it is the queue that says when it is empty.
        if not users_of(cache):
            shell(f"dvc queue start -j {workers} > /dev/null 2>&1", folder)
            time.sleep(5)  # until a worker shows
        status = shell("dvc queue status", folder).stdout
        if "Queued" not in status and "Running" not in status:
            return status
        time.sleep(1)
    raise AssertionError(f"the queue is not worked off:\n{status}")


def test_queued_sweeps_at_once_end_like_one_after_the_other(hollow: Path, cache: Path) -> None:
    twin = hollow.with_name("twin")
    shutil.copytree(hollow, twin)
    for name, stack in SWEEP.items():
        shell(f"dvc exp run --queue --name {name} -S evaluate.stack_bytes={stack}", hollow)
    status = worked_off(hollow, cache, workers=2)
    assert status.count("Success") == len(SWEEP), status
    assert len(list((hollow / ".dvc/tmp/exps/celery").glob("dvc-exp-worker-*.out"))) == 2
    for name, stack in SWEEP.items():
        shell(f"dvc exp apply {name}", hollow)
        set_params(twin, evaluate__stack_bytes=stack)
        assert ran(shell("dvc repro", twin).stdout) == ["evaluate", "export"]
        assert results(hollow) == results(twin)


def test_two_runs_share_one_cache_without_harm(copied: Path, cache: Path) -> None:
    twin = copied.with_name("twin")
    shutil.copytree(copied, twin)
    stages = [
        subprocess.Popen([sys.executable, "-m", "pipeline.features"], cwd=folder, env=environment())
        for folder in (copied, twin)
    ]
    assert [stage.wait() for stage in stages] == [0, 0]
    for folder in (copied, twin):
        assert real_shell("dvc status features", folder).stdout.strip().endswith("up to date.")
    assert "18 from the cache" in real_shell("python -m pipeline.features", copied).stdout


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """An empty bucket of an S3 server on this machine: the server's address, the bucket's name."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="results")
        yield address, "results"
    finally:
        server.stop()


def test_a_colleague_pulls_results_and_experiments_and_reruns_nothing(
    hollow: Path, bucket: tuple[str, str], tmp_path: Path
) -> None:
    address, name = bucket
    shell(
        f"dvc remote add --default s3 s3://{name}/sernet && "
        f"dvc remote modify s3 endpointurl {address} && git commit -qam remote && "
        "git init -q --bare ../origin && git remote add origin ../origin && git push -q origin HEAD",
        hollow,
    )
    experiment = shell("dvc exp run --name stack -S evaluate.stack_bytes=4096", hollow).stdout
    assert ran(experiment) == ["evaluate", "export"]
    shell("dvc exp push origin stack", hollow)
    tried = results(hollow)
    shell("git checkout -q . && dvc checkout -q && dvc push", hollow)

    clone = tmp_path / "clone"
    shell(f"git clone -q origin '{clone}'", tmp_path)
    assert not (clone / "models/tflite").exists()
    shell("dvc pull", clone)
    assert "up to date" in shell("dvc repro", clone).stdout
    assert results(clone) == results(hollow)

    shell("dvc exp pull origin stack && dvc exp apply stack", clone)
    assert ran(shell("dvc repro", clone).stdout) == []
    assert results(clone) == tried
    assert results(clone)["metrics.json"] != results(hollow)["metrics.json"]


def test_what_was_not_pushed_is_named(hollow: Path, bucket: tuple[str, str]) -> None:
    address, name = bucket
    shell(
        f"dvc remote add --default s3 s3://{name}/sernet && "
        f"dvc remote modify s3 endpointurl {address} && dvc push && rm -rf .dvc/cache data/features",
        hollow,
    )
    s3 = boto3.client("s3", endpoint_url=address)
    for item in s3.list_objects_v2(Bucket=name)["Contents"]:
        s3.delete_object(Bucket=name, Key=item["Key"])
    failed = shell("dvc pull", hollow, check=False)
    assert failed.returncode != 0
    assert "data/features" in failed.stderr
    assert "Traceback" not in failed.stderr
