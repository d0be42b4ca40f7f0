"""Speech emotion recognition, from a folder of recordings to an int8 model on a microcontroller."""

import importlib.util
import os
import sys
from types import TracebackType

# tensorflow-model-optimization works on Keras 2; TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# Sums are shared out among threads, so that the last bits of a result depend on how many there are. One
# gives the same bits on any number of cores, whatever the user's shell sets; the cores are used by
# processes.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))
# TensorFlow logs of processors, missing GPUs and unknown attributes; what fails still raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if importlib.util.find_spec("pydantic") is None or importlib.util.find_spec("ruamel") is None:
    raise SystemExit(
        f"sernet: error: {sys.executable} lacks the pipeline's packages: "
        "make the environment with `make env` and enter it with `. .venv/bin/activate`"
    )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("sernet: interrupted, nothing half-written was left", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# Set before anything is imported: Ctrl-C while TensorFlow loads, for seconds, is no bug either.
sys.excepthook = _uncaught
