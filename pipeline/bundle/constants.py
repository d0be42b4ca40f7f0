"""Tables of the front end as the bundle keeps them in flash."""

from dataclasses import dataclass

import numpy as np

from pipeline.mcu import cmsis
from pipeline.params import Features


@dataclass(frozen=True)
class FrontEndTables:
    """What arm_mfcc_f32 takes, and what the portable code has in place of CMSIS-DSP's FFT.

    frame : window, mel filters and basis
    log_mel : the basis is the identity, which the portable code does without
    cosine : cos(2πk / n_fft) for 0 ≤ k ≤ n_fft / 4, float32
    cmsis_fft_bytes : of CMSIS-DSP's own tables
    """

    frame: cmsis.MfccTables
    log_mel: bool
    cosine: np.ndarray
    cmsis_fft_bytes: int

    def bytes(self, with_cmsis: bool) -> dict[str, int]:
        """Of flash, by name."""
        fft = self.cmsis_fft_bytes if with_cmsis else self.cosine.nbytes
        tables = {**self.frame.bytes(), "fft": fft}
        if self.log_mel and not with_cmsis:
            del tables["basis"]
        return tables


def make(sample_rate: int, p: Features) -> FrontEndTables:
    """The tables for features `p` of audio at `sample_rate` Hz.

    Raises
    ------
    ParamsError
        The device's front end has no such features.
    """
    cmsis.check(p)
    angles = 2 * np.pi * np.arange(p.n_fft // 4 + 1) / p.n_fft
    return FrontEndTables(
        frame=cmsis.tables("f32", sample_rate, p),
        log_mel=p.kind == "log_mel",
        cosine=np.cos(angles).astype(np.float32),
        cmsis_fft_bytes=cmsis.fft_bytes(p.n_fft),
    )
