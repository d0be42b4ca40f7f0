"""How loud a clip has to be on the device."""

from typing import Any

from pipeline import paths
from pipeline.errors import ModelError
from pipeline.mcu.cmsis import FULL_SCALE


def least_level(validation: Any) -> float:
    """The level below which the device takes a clip for silence, in steps of int16.

    It is the root mean square below which `validate` refuses a clip. The device knows the 99.9th percentile of
    |x| only, which of speech and of noise lies above the root mean square: what the device refuses, training
    would not have had.

    Parameters
    ----------
    validation : the content of `validation.json`

    Returns
    -------
    float
        0 where `validate` only warns of silent clips, since training then had them.

    Raises
    ------
    ModelError
        It does not say which clips are silent.
    """
    try:
        (check,) = (each for each in validation["checks"] if each["check"] == "silent")
        if check["level"] != "error":
            return 0.0
        return float(FULL_SCALE * 10 ** (check["expected"]["min_value"] / 20))
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"{paths.VALIDATION} lacks the check of silent clips that `validate` writes there: run `dvc repro`"
        ) from None
