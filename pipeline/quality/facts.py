"""What is measured of each clip and of each fold, before anything is expected of it."""

from collections.abc import Callable

import numpy as np
import pandas as pd

FULL_SCALE = 32767 / 32768  # the largest sample of 16 bits
FLOOR_DBFS = -200.0  # stands for minus infinity, which JSON cannot hold


def of_samples(y: np.ndarray) -> dict[str, float]:
    """Facts of one recording.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], full scale is plus or minus 1

    Returns
    -------
    finite_fraction : share of samples that are numbers
    rms_dbfs : root mean square in dB relative to full scale, over the finite samples
    clipped_fraction : share of samples at full scale of 16 bits or above
    """
    finite = np.isfinite(y)
    values = y[finite].astype(np.float64)
    rms = np.sqrt(np.mean(values**2)) if len(values) else 0.0
    return {
        "finite_fraction": float(finite.mean()) if len(y) else 0.0,
        "rms_dbfs": max(FLOOR_DBFS, 20 * float(np.log10(rms))) if rms > 0 else FLOOR_DBFS,
        "clipped_fraction": float(np.mean(np.abs(values) >= FULL_SCALE)) if len(values) else 0.0,
    }


def of_clips(manifest: pd.DataFrame, read: Callable[[str], np.ndarray]) -> pd.DataFrame:
    """The manifest with the facts of each clip's samples, which `read` gives for a clip's id."""
    measured = pd.DataFrame([of_samples(read(clip)) for clip in manifest["clip"]])
    return pd.concat([manifest.reset_index(drop=True), measured], axis=1)


def of_classes(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per class: label, clips, speakers."""
    groups = manifest.groupby("label")
    return pd.DataFrame(
        {"clips": groups.size(), "speakers": groups["speaker"].nunique()}
    ).reset_index()


def of_folds(manifest: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """One row per fold.

    `untrained_classes` counts the classes that the fold tests or chooses by and does not train;
    `shared_speakers` the speakers who stand on more than one side.
    """
    table = folds.merge(manifest[["clip", "label", "speaker"]], on="clip")
    rows = []
    for name, fold in table.groupby("fold", sort=False):
        train = fold[fold["role"] == "train"]
        held_out = fold[fold["role"] != "train"]
        sides = fold.groupby("speaker")["role"].nunique()
        rows.append(
            {
                "fold": name,
                "untrained_classes": len(set(held_out["label"]) - set(train["label"])),
                "shared_speakers": int((sides > 1).sum()),
            }
        )
    return pd.DataFrame(rows)
