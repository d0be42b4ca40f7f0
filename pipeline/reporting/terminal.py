"""The result as a table for a terminal of 80 columns."""

from typing import Any

from pipeline.scoring.protocols import HONEST, MODELS, SHIPS, protocol


def render(metrics: dict[str, Any]) -> str:
    """metrics.json as text; every figure is printed with its protocol."""
    model, mcu = metrics["model"], metrics["mcu"]
    lines = [
        f"{metrics['corpus']}: {metrics['clips']} clips, {metrics['classes']} classes, {metrics['folds']} folds",
        f"split: {metrics['split']}",
        "",
        f"{'':23} {'UA %':>6} {'95 % interval':>15} {'WA %':>6} {'F1 %':>6}  protocol",
    ]
    for key, name in MODELS.items():
        row = metrics[key]
        between = f"{row['ua_low']:.2f} - {row['ua_high']:.2f}" if "ua_low" in row else ""
        lines.append(
            f"{name:23} {row['ua']:6.2f} {between:>15} {row['wa']:6.2f} {row['f1']:6.2f}  {protocol(key)}"
        )
    over_folds = (
        f"{name} {metrics[key]['ua_folds']:.2f} ± {metrics[key]['ua_std']:.2f}"
        for key, name in MODELS.items()
        if key in ("float", SHIPS)
    )
    lines += ["", f"UA % over folds, mean ± deviation, {HONEST}:", f"  {'; '.join(over_folds)}"]
    margin = mcu["arena_limit_bytes"] - mcu["arena_bytes"]
    flash_margin = mcu["flash_limit_bytes"] - mcu["flash_needed_bytes"]
    lines += [
        "",
        f"model   {model['params']:,} parameters, {model['macs']:,} MACs, file {model['flash_bytes']:,} bytes",
        f"arena   {mcu['arena_bytes']:>9,} of {mcu['arena_limit_bytes']:,} bytes ({margin:+,} left)",
        f"flash   {mcu['flash_needed_bytes']:>9,} of {mcu['flash_limit_bytes']:,} bytes ({flash_margin:+,} left)",
        f"board   {mcu['board']}: {'fits' if mcu['fits'] else 'DOES NOT FIT'}",
        f"bits    TFLite Micro and LiteRT's reference kernels differ by {metrics['agreement']['tflm_vs_litert_reference']}",
    ]
    if metrics["corpus"] == "demo":
        lines += ["", "The demo corpus is synthesized: its scores say nothing about people."]
    return "\n".join(lines)
