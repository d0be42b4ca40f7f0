"""Speech emotion recognition, from a folder of recordings to an int8 model on a microcontroller."""

import importlib.util
import os
import sys

# tensorflow-model-optimization works on Keras 2; TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# TensorFlow logs of processors, missing GPUs and unknown attributes; what fails still raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if importlib.util.find_spec("pydantic") is None or importlib.util.find_spec("ruamel") is None:
    raise SystemExit(
        f"sernet: error: {sys.executable} lacks the pipeline's packages: "
        "make the environment with `make env` and enter it with `. .venv/bin/activate`"
    )
