"""Where work runs: in processes of this machine, or on the Dask cluster that SERNET_DASK names.

Where it runs is no parameter, for it does not show in the results: a worker calls a function in the
folder of this process and with one thread, because sums that threads share out differ in their last
bits; and a cluster whose code, packages or processor are others than here is refused.

joblib has a backend for Dask of its own. It places large arguments in the memory of one worker, with
which they are lost, and waits for ever for a call whose workers keep dying. The backend here sends
the arguments with the call, so that Dask can repeat it, and passes every failure on.
"""

import asyncio
import contextlib
import functools
import hashlib
import importlib.metadata
import operator
import os
import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import numpy as np
from joblib import Parallel, cpu_count, delayed
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.errors import SernetError, listed
from pipeline.packages import required

VARIABLE = "SERNET_DASK"
CACHE = "SERNET_CACHE"  # goes with the work
WITH_TENSORFLOW = 8  # processes on one machine at most: each takes 1 to 2 GB
PATIENCE = 5.0  # seconds in which a scheduler has to answer
RESTART = 20.0  # seconds in which a worker has to be there, as one that takes a dead one's place

T = TypeVar("T")

# Where the caller ends early, it says why in a line of its own.
warnings.filterwarnings("ignore", r"(\d+ tasks|Additionally)", UserWarning, r"joblib\.parallel")


class WorkersError(SernetError):
    """Workers die, or those of a cluster cannot be reached, or would not compute what this process would."""


def run(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], jobs: int | None = None
) -> Iterator[T]:
    """What `function` returns for each of `calls`, in their order, each as soon as it is there.

    Parameters
    ----------
    function : writes no file but whole ones and the same each time: where a worker dies, a call is
        repeated. Relative paths mean what they mean here; on a cluster the folder is shared.
    calls : the arguments of each call
    jobs : processes on this machine at most, for work that takes much memory; None: one per core.
        Of a cluster all workers are used.

    Raises
    ------
    WorkersError
        A process of this machine was killed. There is no cluster at SERNET_DASK, or its workers do
        not fit or keep dying.
    Exception
        What `function` raised; calls that did not start are dropped.
    """
    here = Path.cwd(), os.environ.get(CACHE), os.getpid()
    tasks = (delayed(_as_here)(*here, function, arguments) for arguments in calls)
    address = os.environ.get(VARIABLE)
    if address:
        with _cluster(address) as backend:
            yield from Parallel(backend=backend, return_as="generator")(tasks)
    else:
        most = min(jobs or cpu_count(), cpu_count())
        n_jobs = max(1, min(most, operator.length_hint(calls, most)))
        # Not as memory maps, which is what joblib makes of large arrays: their digest, and with it
        # the key of a cached result, is not that of the array. All at once: a thread that hands over
        # the rest would print a traceback where the caller ends early.
        parallel = Parallel(
            n_jobs=n_jobs, max_nbytes=None, pre_dispatch="all", return_as="generator"
        )
        try:
            yield from parallel(tasks)
        except BrokenProcessPool:
            raise WorkersError(
                f"one of {n_jobs} processes was ended from outside, most likely for want of memory (with TensorFlow "
                "each takes 1 to 2 GB): free some, or set LOKY_MAX_CPU_COUNT to fewer, then run it again"
            ) from None


def _as_here(
    folder: Path, cache: str | None, caller: int, function: Callable[..., T], arguments: tuple[Any, ...]
) -> T:  # fmt: skip
    """Call `function` as if in `folder` with SERNET_CACHE at `cache`, and with one thread."""
    if os.getppid() == caller:  # a process of this machine, not of a cluster
        _end_with(caller)
    os.environ.pop(CACHE, None)
    if cache is not None:
        os.environ[CACHE] = cache
    with contextlib.chdir(folder), threadpool_limits(1):
        return function(*arguments)


@functools.cache
def _end_with(parent: int) -> None:
    """Let this process end, in a second, when the one that started it is killed.

    Else it would work on beside the next run, and write into that one's outputs.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _unpacked(call: bytes) -> Any:
    """What a call gives that was packed for its way to a worker."""
    return cloudpickle.loads(call)()


class _Cluster(AutoBatchingMixin, ParallelBackendBase):
    """joblib's calls on the workers of a Dask client."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, client: Any) -> None:
        super().__init__(nesting_level=0)
        self._client = client

    def effective_n_jobs(self, n_jobs: int) -> int:
        # A worker that died is missing until it is replaced; and one job joblib would do itself.
        return max(2, len(self._client.nthreads()))

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        return SequentialBackend(nesting_level=1), None

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        # As bytes, or the scheduler would unpack it too and import what is called.
        future = self._client.submit(_unpacked, cloudpickle.dumps(func), pure=False)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return out.result()
        except KilledWorker as error:
            raise WorkersError(
                f"a task ended {error.allowed_failures + 1} Dask workers, expected them to live: "
                "see their logs, and give them more memory (about 2 GB each)"
            ) from None
        except CancelledError:
            raise WorkersError(
                f"the Dask cluster of {VARIABLE} went away, expected it to stay: start it again, "
                "then the stage, which goes on with what is in its cache"
            ) from None


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[_Cluster]:
    """A backend on the cluster at `address` whose workers compute what this process would."""
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise WorkersError(
            f"{VARIABLE} is {address}, but the package distributed is not here: "
            "pip install 'distributed', or unset it to run on this machine"
        ) from None
    try:
        # In a thread of its own: this one may have a running event loop, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _knock(address)).result()
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkersError(
            f"no Dask scheduler answers at {VARIABLE}={address} ({_line(error)}), expected one as in "
            "tcp://host:8786: start it with `dask scheduler`, or unset the variable"
        ) from None
    # Arguments travel through the scheduler on purpose; Dask would warn of their size.
    quiet = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"})
    with client, quiet:
        _check(client, address)
        yield _Cluster(client)


async def _knock(address: str) -> None:
    """Shake hands with the scheduler at `address`, or raise OSError or ValueError.

    A Dask client waits for ever for the other side of the handshake, and one that could not connect
    stays half alive.
    """
    from distributed.comm import connect
    from distributed.security import Security

    secrets = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=PATIENCE, **secrets), 2 * PATIENCE)
    comm.abort()


def _check(client: Any, address: str) -> None:
    """Refuse workers that would compute something else than this process."""
    try:
        client.wait_for_workers(1, timeout=RESTART)
    except TimeoutError:
        raise WorkersError(
            f"the Dask scheduler at {address} has no workers, expected one at least: start some in "
            f"the project's environment with `dask worker {address} --nthreads 1 --nworkers -1`"
        ) from None
    crowded = {worker: n for worker, n in client.nthreads().items() if n != 1}
    if crowded:
        worker, threads = next(iter(crowded.items()))
        raise WorkersError(
            f"the Dask worker {worker} runs {threads} tasks in one process, expected 1, since "
            "training sets the process's random state: start workers with --nthreads 1"
        )
    folder = Path.cwd()
    try:
        client.run_on_scheduler(_surroundings, folder)  # which unpacks the name of what is called
        found = client.run(_surroundings, folder)
    except ImportError as error:
        raise WorkersError(
            f"the Dask cluster at {address} lacks a package ({_line(error)}), expected the project's "
            f"environment: start scheduler and workers in it, from {folder}"
        ) from None
    here = _surroundings(folder)
    for worker, there in found.items():
        others = [f"{name} {there.get(name)}" for name in here if there.get(name) != here[name]]
        if others:
            expected = listed(
                f"{name} {here[name]}" for name in here if there.get(name) != here[name]
            )
            raise WorkersError(
                f"the Dask worker {worker} has {listed(others)}, expected {expected}, since results "
                f"would differ: start it in the project's environment, from {folder}, on such a processor"
            )


def _surroundings(folder: Path) -> dict[str, str]:
    """What results depend on in the process that computes them, apart from what it is asked to."""
    code = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        code.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    np.ones((2, 2)) @ np.ones((2, 2))  # so that the library of linear algebra is there to be asked
    kernels = {library.get("architecture", "") for library in threadpool_info()} - {""}
    return {
        "folder": str(folder) if folder.is_dir() else f"no {folder}",
        "python": platform.python_version(),
        "code": code.hexdigest()[:12],
        "processor": " ".join([platform.machine(), *sorted(kernels)]),
        **{name: importlib.metadata.version(name) for name in required()},
    }


def _line(error: BaseException) -> str:
    """What an error says of its first cause, in one line."""
    while error.__cause__:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
