"""Latency: a range by hand, its sources beside it, and nothing where nothing is published."""

import pytest

from pipeline.mcu import boards, cores, latency
from pipeline.mcu.boards import Board
from pipeline.mcu.cores import Core, Measured


def core(*speeds: tuple[float, str]) -> Core:
    measured = [Measured(macs_per_cycle=s, kernels=k, source=f"{k} {s}") for s, k in speeds]
    return Core(flags=[], measured=measured)


TABLE = {
    "both": core((0.2, "open"), (0.25, "open"), (0.5, "vendor")),
    "closer": core((0.4, "open"), (0.6, "vendor")),
    "vendor": core((1.0, "vendor"), (2.0, "vendor")),
    "single": core((4.0, "open")),
    "range": core((4.0, "open"), (8.0, "open")),
    "none": core(),
}


def board(name: str) -> Board:
    return Board(name="b", core=name, mhz=100, ram=1, flash=1, source="")


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        # 10 M MACs at 100 MHz: 0.1 s over the MACs per cycle.
        ("both", (0.2, 0.5)),
        ("closer", (0.1 / 0.6, 0.25)),
        # 0.5 / 0.2 is the widest ratio of a vendor's to open kernels: 2.5.
        ("vendor", (0.05, 0.25)),
        ("single", (0.01, 0.025)),
        ("range", (0.0125, 0.025)),
    ],
)
def test_the_range_is_as_by_hand(name: str, seconds: tuple[float, float]) -> None:
    found = latency.estimate(board(name), 10_000_000, 0.5, TABLE)
    assert found.seconds == pytest.approx(seconds)
    assert found.realtime == pytest.approx([2 * s for s in seconds])
    assert len(found.sources) == len(TABLE[name].measured)
    assert bool(found.note) == (name in ("vendor", "single"))


def test_it_is_never_one_number() -> None:
    for key, entry in boards.load().items():
        seconds = latency.estimate(entry, 10**8).seconds
        assert seconds is None or seconds[1] > seconds[0], key


@pytest.mark.parametrize("name", ["none", "RISC-V"])
def test_without_a_published_speed_there_is_no_guess(name: str) -> None:
    found = latency.estimate(board(name), 10**8, 3.0, TABLE)
    assert (found.seconds, found.realtime, found.sources) == (None, None, ())
    assert (
        found.note
        == f"no speed is published for {name!r}; there are some for both, closer, vendor, single, range"
    )


def test_without_two_kinds_of_kernels_on_any_core_nothing_is_widened() -> None:
    assert latency.spread({"vendor": TABLE["vendor"], "single": TABLE["single"]}) == 1.0


def test_more_macs_or_a_slower_clock_take_longer() -> None:
    slow = board("both").model_copy(update={"mhz": 50})
    one = latency.estimate(board("both"), 10**7, table=TABLE).seconds
    assert one is not None
    twice = tuple(2 * s for s in one)
    assert latency.estimate(board("both"), 2 * 10**7, table=TABLE).seconds == pytest.approx(twice)
    assert latency.estimate(slow, 10**7, table=TABLE).seconds == pytest.approx(twice)


# MACs in all and depthwise, and seconds of an inference in MLPerf Tiny's closed results: TFLite Micro
# v0.5 and microTVM v1.0 on NUCLEO-L4R5ZI, X-CUBE-AI v1.0 on NUCLEO-H7A3ZI-Q.
MLPERF = {
    "image classification": ((12_501_632, 0), (0.70426, 0.38955, 0.054345)),
    "keyword spotting": ((2_656_768, 288_000), (0.18192, 0.09982, 0.01676)),
    "visual wake words": ((7_489_664, 798_336), (0.60054, 0.30122, 0.050705)),
}


def test_depthwise_macs_cost_what_published_times_of_separable_networks_say() -> None:
    (dense, _), base = MLPERF["image classification"]
    costs = [
        (seconds * dense / of_dense - (macs - depthwise)) / depthwise
        for (macs, depthwise), times in MLPERF.values()
        if depthwise
        for seconds, of_dense in zip(times, base, strict=True)
    ]
    assert (round(min(costs), 1), round(max(costs), 1)) == latency.DEPTHWISE


def test_a_separable_network_takes_longer_than_its_macs_say() -> None:
    dense, separable = (
        latency.estimate(board("both"), 10**7, table=TABLE, depthwise_macs=n).seconds
        for n in (0, 10**6)
    )
    assert dense and separable
    least, most = latency.DEPTHWISE
    assert separable[0] == pytest.approx(dense[0] * (0.9 + 0.1 * least))
    assert separable[1] == pytest.approx(dense[1] * (0.9 + 0.1 * most))
    said = latency.table({"b": boards.load()["stm32h743"]}, 10**7, depthwise_macs=10**6)
    assert "1,000,000 of the MACs are depthwise" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    assert "depthwise" not in latency.table({"b": boards.load()["stm32h743"]}, 10**7)


def test_every_published_speed_names_its_source() -> None:
    measured = [found for entry in cores.load().values() for found in entry.measured]
    assert all(len(found.source) > 20 for found in measured)
    assert len({found.source for found in measured}) == len(measured)


def test_the_table_fits_a_terminal_and_every_source_stands_under_it() -> None:
    table = boards.load()
    text = latency.table(table, 159_000_000, 3.0)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    flat = " ".join(text.split())
    used = {board.core for board in table.values()}
    for name in used:
        for found in cores.load()[name].measured:
            assert found.source in flat
    assert "An estimate" in flat and "Not a measurement" in flat
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(table)]}
    assert rows.keys() == table.keys()
    published = {key for key, board in table.items() if cores.load()[board.core].measured}
    assert {key for key, row in rows.items() if "not known" not in row} == published
    # Each number of a row is one of those that stand under the table.
    numbers = {line.split()[0] for line in lines[1 + len(table) :] if line[:2].strip().isdigit()}
    for row in rows.values():
        assert set(row[66:].replace(",", " ").split()) <= numbers
