"""What is expected of the data: Great Expectations suites in code.

Each check has a name, by which params.yaml lowers it from an error to a warning (`validate.warn`).
"""

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

# Read by Great Expectations when it is imported: nothing is sent to anybody.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.core import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation

from pipeline.params import Validate


@dataclass(frozen=True)
class Result:
    """What came of one check. `items` are the clips, classes or folds that broke it."""

    check: str
    level: str  # error or warning
    expectation: str
    expected: dict[str, Any]
    success: bool
    checked: int
    items: list[str]
    values: list[Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_clips(p: Validate, labels: list[str] | None) -> dict[str, Expectation]:
    """Checks of the table of clips; `labels` are the corpus's own, None where any is allowed."""
    known: Expectation = (
        gxe.ExpectColumnValuesToMatchRegex(column="label", regex=r"^\S(?:.*\S)?$")
        if labels is None
        else gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels)
    )
    return {
        "labels": known,
        "ids": gxe.ExpectColumnValuesToBeUnique(column="clip"),
        "duplicates": gxe.ExpectColumnValuesToBeUnique(column="sha256"),
        "seconds": gxe.ExpectColumnValuesToBeBetween(
            column="seconds", min_value=p.min_seconds, max_value=p.max_seconds
        ),
        "finite": gxe.ExpectColumnValuesToBeBetween(column="finite_fraction", min_value=1.0),
        "silent": gxe.ExpectColumnValuesToBeBetween(column="rms_dbfs", min_value=p.silence_dbfs),
        "clipped": gxe.ExpectColumnValuesToBeBetween(
            column="clipped_fraction", max_value=p.clipped_fraction
        ),
    }


def of_classes(p: Validate) -> dict[str, Expectation]:
    return {
        "speakers_per_class": gxe.ExpectColumnValuesToBeBetween(
            column="speakers", min_value=p.min_speakers_per_class
        )
    }


def of_folds() -> dict[str, Expectation]:
    return {
        "fold_classes": gxe.ExpectColumnValuesToBeInSet(column="untrained_classes", value_set=[0]),
        "speaker_overlap": gxe.ExpectColumnValuesToBeInSet(column="shared_speakers", value_set=[0]),
    }


def check(
    facts: pd.DataFrame, key: str, expectations: dict[str, Expectation], warn: Collection[str]
) -> list[Result]:
    """Hold `facts` against `expectations`; the column `key` names what broke one."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("facts")
        .add_dataframe_asset(key)
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": facts})
    )
    results = []
    for name, expectation in expectations.items():
        suite = context.suites.add(ExpectationSuite(name, expectations=[expectation]))
        outcome = batch.validate(
            suite,
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
        ).results[0]
        results.append(_result(name, outcome, key, "warning" if name in warn else "error"))
    return results


def _result(name: str, outcome: ExpectationValidationResult, key: str, level: str) -> Result:
    found = outcome.to_json_dict()
    # That of the check, or of each of its metrics by the metric's id.
    info = found["exception_info"]
    for exception in (info, *info.values()):
        if isinstance(exception, dict) and exception.get("raised_exception"):
            raise RuntimeError(f"check {name}: {exception['exception_message']}")
    config, result = found["expectation_config"], found["result"]
    column = config["kwargs"]["column"]
    broken = result.get("unexpected_index_list") or []
    return Result(
        check=name,
        level=level,
        expectation=config["type"],
        expected={k: v for k, v in config["kwargs"].items() if k != "batch_id"},
        success=bool(found["success"]),
        checked=int(result["element_count"]),
        items=[str(row[key]) for row in broken],
        values=[_plain(row[column]) for row in broken],
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
