"""The tables behind the plots, against cases computed by hand."""

import pandas as pd
import pytest
from test_budget import GRAPH

from pipeline.reporting import plots

ROWS = pd.DataFrame(
    {
        "speaker": ["s1", "s1", "s1", "s2", "s2"],
        "actual": ["a", "a", "b", "a", "b"],
        "predicted_int8": ["a", "b", "b", "b", "b"],
    }
)


def test_ua_of_a_speaker_is_the_mean_recall_over_its_classes() -> None:
    table = plots.by_speaker(ROWS, ("int8",)).set_index("speaker")
    assert table["clips"].to_dict() == {"s1": 3, "s2": 2}
    # s1: a 1/2, b 1/1; s2: a 0/1, b 1/1.
    assert table["ua_int8"].to_dict() == {"s1": 75.0, "s2": 50.0}


def test_only_forms_that_were_scored_have_a_mark() -> None:
    table = plots.sizes({"float": 1900, "float16": 950, "ptq": 490}, {"float": 71.0, "ptq": 70.0})
    assert table.to_dict("records") == [
        {"model": "float", "bytes": 1900, "ua": 71.0},
        {"model": "ptq", "bytes": 490, "ua": 70.0},
    ]


def test_the_highest_bar_is_the_graphs_peak() -> None:
    table = plots.arena(GRAPH, 4096)
    assert table["live_bytes"].max() == sum(t.bytes for t in GRAPH.peak()[1])
    assert list(table["operator"]) == [1, 2]
    assert set(table["ram_bytes"]) == {4096}


@pytest.mark.parametrize("column", ["live_bytes", "ram_bytes"])
def test_the_arenas_table_has_what_the_plot_draws(column: str) -> None:
    assert column in plots.arena(GRAPH, 4096)
