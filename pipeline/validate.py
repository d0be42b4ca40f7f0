"""Stage 2, validate: the manifest, the audio and the split are what the later stages rely on."""

import json

import pandas as pd
from scipy.io import wavfile

from pipeline import corpora, manifest, params, paths, splits
from pipeline.errors import ValidationError, listed, run
from pipeline.outputs import staged
from pipeline.params import Validate
from pipeline.quality import expectations, facts, page

PARAMS = ("corpus.name", "validate", "split")


def validate(
    clips: pd.DataFrame, folds: pd.DataFrame, p: Validate, labels: list[str] | None
) -> list[expectations.Result]:
    """Hold the clips' facts, their classes and their folds against all expectations."""
    return [
        *expectations.check(clips, "clip", expectations.of_clips(p, labels), p.warn),
        *expectations.check(facts.of_classes(clips), "label", expectations.of_classes(p), p.warn),
        *expectations.check(facts.of_folds(clips, folds), "fold", expectations.of_folds(), p.warn),
    ]


def main() -> None:
    p = params.select(PARAMS)
    rows, audio = manifest.read(), paths.require(paths.CLIPS)
    folds = splits.make(rows, p.split)
    clips = facts.of_clips(rows, lambda clip: wavfile.read(audio / f"{clip}.wav")[1])
    kind = splits.kind_of(rows, p.split)
    # Its leak is what the paper's split is there to show: counted, and said with every score.
    warn = [*p.validation.warn, *(["speaker_overlap"] if kind == "paper" else [])]
    lenient = p.validation.model_copy(update={"warn": warn})
    results = validate(clips, folds, lenient, corpora.labels(p.corpus.name))

    failed = [result for result in results if not result.success]
    errors = [result for result in failed if result.level == "error"]
    counts: dict[str, object] = {
        "corpus": p.corpus.name,
        "clips": len(rows),
        "classes": rows["label"].nunique(),
        "speakers": rows["speaker"].nunique(),
        "minutes": round(float(rows["seconds"].sum()) / 60, 1),
        "split": splits.KINDS[kind],
        "folds": folds[folds["role"] == "test"]["fold"].nunique(),
        "checks": len(results),
        "errors": len(errors),
        "warnings": len(failed) - len(errors),
    }
    # Written before a failure is raised: the page is what explains it.
    with staged(paths.VALIDATION, paths.VALIDATION_PAGE) as (result_file, page_file):
        content = {"summary": counts, "checks": [result.to_dict() for result in results]}
        result_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        page_file.write_text(page.render(results, counts), "utf-8")
    for result in failed:
        print(f"validate: {result.level}: {result.check}: {listed(result.items)}")
    if errors:
        named = "; ".join(f"{error.check} ({listed(error.items)})" for error in errors)
        remedy = "Mend or leave out these, or name the check in validate.warn"
        if any(error.check == "speaker_overlap" for error in errors):
            remedy = f"Set split.leave_out=speaker: no speaker is on two sides then. {remedy}"
        raise ValidationError(
            f"{len(errors)} of {len(results)} checks failed: {named}; see {paths.VALIDATION_PAGE}. {remedy}"
        )
    with staged(paths.FOLDS) as (table,):
        folds.to_csv(table, index=False)
    print(
        f"validate: {len(results)} checks, {len(failed)} warnings; {paths.VALIDATION_PAGE} shows them"
    )


if __name__ == "__main__":
    run(main)
