"""Plain, tiled and streaming: what each takes in all, and which is flashed."""

import re
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from test_int8 import X, ptq

from pipeline.errors import ModelError
from pipeline.mcu import equality, stream, variants
from pipeline.mcu.arena import smallest
from pipeline.mcu.boards import Board
from pipeline.mcu.equality import Difference
from pipeline.mcu.front_end import MODES
from pipeline.mcu.variants import Surroundings, Variants
from pipeline.params import Params
from pipeline.tflite import graph


def board(ram: int, core: str = "M4") -> Board:
    return Board(name="A board", core=core, mhz=100, ram=ram, flash=1 << 20, source="")


def around(toy: Params, **changes: Any) -> Surroundings:
    return Surroundings(toy.evaluate.model_copy(update=changes), toy.features, 1.0, 16000)


def measured(toy: Params, ram: int = 1 << 20, **changes: Any) -> Variants:
    return variants.measure(ptq(), board(ram), around(toy, **changes), least_ram=1 << 20)


def test_the_tiled_model_of_the_smallest_board_is_measured_where_this_one_needs_none(
    toy: Params,
) -> None:
    plain = measured(toy).need
    least = plain.ram_bytes - 900
    found = variants.measure(ptq(), board(1 << 20), around(toy), least)
    assert (found.deployed.plan, found.need.variant) == (None, "plain")
    assert found.needs["tiled"].ram_bytes <= least
    checked = variants.check(ptq(), found, X[:1])
    assert checked["tiled"] == dict.fromkeys(checked["tiled"], 0)


def test_a_model_that_fits_stays_as_it_is(toy: Params) -> None:
    found = measured(toy)
    assert found.deployed.content == ptq()
    assert found.need.variant == "plain"
    assert found.need.arena_bytes == smallest(ptq()).bytes
    assert found.need.flash[0].bytes == len(ptq())


def test_all_that_is_beside_the_network_is_counted_by_hand(toy: Params) -> None:
    lines = {line.name: (line.bytes, line.how) for line in measured(toy, level="whole").need.ram}
    assert lines["audio buffer"] == (2 * 16000, "computed")
    # A frame, 17 magnitudes of 16 bits in words and their number, CMSIS-DSP's memory, pointers.
    assert lines["front end"] == (4096 + 40 + 8192 + 56 + 16, "computed")
    assert lines["stack"] == (toy.evaluate.stack_bytes, "allowed for")
    # The largest filter is 3×3 over 12 channels of the concatenation, filled up to registers of 16 bytes.
    assert lines["convolution scratch, CMSIS-NN"] == (4 * 7 * 16, "allowed for")


def test_what_was_added_up_of_parts_is_not_called_measured(toy: Params) -> None:
    needs = measured(toy).needs
    assert {name: need.ram[0].how for name, need in needs.items()} == {
        "plain": "measured", "streaming": "computed",
    }  # fmt: skip
    assert [line.how for line in needs["plain"].flash] == ["measured", "computed", "allowed for"]


def front_end_bytes(toy: Params, variant: str, level: str, kind: str = "mfcc") -> int:
    features = toy.features.model_copy(update={"kind": kind})
    p = toy.evaluate.model_copy(update={"level": level})
    need = Surroundings(p, features, 1.0, 16000).need(variant, 0, 0)
    return sum(line.bytes for line in need.ram if line.name in ("audio buffer", "front end"))


@pytest.mark.parametrize("kind", ["mfcc", "log_mel"])
def test_each_variant_is_budgeted_for_the_program_that_the_bundle_has_for_it(
    toy: Params, kind: str
) -> None:
    waiting = toy.features.n_mels if kind == "log_mel" else 1  # values of each of 59 frames
    plain, tiled, streaming = (
        {level: front_end_bytes(toy, variant, level, kind) for level in MODES}
        for variant in ("plain", "tiled", "streaming")
    )
    # The program of the whole network waits for the clip's end, and keeps floats or samples till then.
    assert plain == tiled
    assert plain["deferred"] == plain["running"]
    # A second of samples beside a frame of them, and neither 16 bytes of state nor what waits.
    assert plain["whole"] - plain["deferred"] == 2 * (16000 - 1024) - 16 - 4 * 59 * waiting
    # That of a stream has its rows at once, whatever `evaluate.level` says of the other.
    assert len(set(streaming.values())) == 1
    assert plain["deferred"] - streaming["deferred"] == 4 * 59 * waiting


def test_the_bundles_programs_level_as_the_budget_reckons(toy: Params) -> None:
    text = (ROOT / "pipeline/bundle/templates/README.md.j2").read_text("utf-8")
    whole, stream = (
        set(re.findall(r"sernet_(\w+)_start\(&sernet_front_end", part))
        for part in text.split("### As a stream")
    )
    of = {level: Surroundings(toy.evaluate.model_copy(update={"level": level}), toy.features, 1.0, 16000) for level in MODES}  # fmt: skip
    assert whole == {each.mode(streams=False) for each in of.values()} == {"whole", "deferred"}
    assert stream == {each.mode(streams=True) for each in of.values()} == {"running"}


def test_a_board_that_is_too_small_gets_a_tiled_model_of_the_same_bits(toy: Params) -> None:
    plain = measured(toy).need
    found = measured(toy, ram=plain.ram_bytes - 900)
    assert found.deployed.plan is not None
    assert found.need.variant == "tiled"
    assert found.need.ram_bytes <= plain.ram_bytes - 900
    checked = variants.check(ptq(), found, X[:2])
    assert checked["tiled"] == dict.fromkeys(checked["tiled"], 0)
    assert (checked["streaming"]["outputs"], checked["streaming"]["rows"]) == (0, 0)


def test_each_variant_has_the_scratch_of_the_graphs_that_it_runs(toy: Params) -> None:
    found = measured(toy, tiling=3)
    asked = {name: need.scratch for name, need in found.needs.items()}
    plain, tiled, streaming = (asked[name]["ESP-NN"] for name in ("plain", "tiled", "streaming"))
    read = graph.read(ptq())
    inputs = [read.tensors[op.inputs[0]].bytes for op in read.operators if op.name == "CONV_2D"]
    assert plain > max(inputs)  # it is copied with its padding; slabs and parts see fewer rows
    assert max(streaming, tiled) < plain
    assert len({each["CMSIS-NN"] for each in asked.values()}) == 1
    assert found.to_dict()["streaming"]["scratch"] == asked["streaming"]


def test_tiling_leaves_room_for_the_scratch_of_the_boards_kernels(toy: Params) -> None:
    plain = measured(toy).need
    esp = board(plain.ram_bytes + 1000, "Xtensa LX7")
    assert measured(toy, ram=esp.ram).need.variant == "plain"
    assert plain.on(esp).ram_bytes > esp.ram
    found = variants.measure(ptq(), esp, around(toy), least_ram=1 << 20)
    assert found.need.variant == "tiled"
    assert found.need.on(esp).ram_bytes <= esp.ram


def test_tiling_leaves_room_for_the_boards_system(toy: Params) -> None:
    plain = measured(toy).need
    mbed = board(plain.ram_bytes + 100).model_copy(update={"system_ram": 1000})
    assert measured(toy, ram=mbed.ram).need.variant == "plain"
    found = variants.measure(ptq(), mbed, around(toy), least_ram=1 << 20)
    assert found.need.variant == "tiled"
    assert found.need.on(mbed).ram_bytes <= mbed.ram


def test_off_means_off(toy: Params) -> None:
    found = measured(toy, ram=4096, tiling="off")
    assert found.deployed.content == ptq()
    assert set(found.needs) == {"plain", "streaming"}


def test_a_number_is_that_many_slabs(toy: Params) -> None:
    found = measured(toy, tiling=3)
    assert found.deployed.slabs == 3
    assert found.to_dict()["tiled"]["slabs"] == 3


def test_a_difference_of_a_bit_stops_the_stage(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(toy)

    def off_by_one(content: bytes) -> Any:
        invoke = stream.micro(content)
        return lambda values: np.clip(invoke(values).astype(int) + 1, -128, 127).astype(np.int8)

    compare = stream.compare
    monkeypatch.setattr(stream, "compare", lambda *a: compare(*a, runtime=off_by_one))
    with pytest.raises(ModelError, match="the model in parts differs from the plain one"):
        variants.check(ptq(), found, X[:1])


def test_a_difference_of_a_step_in_the_tiled_model_stops_the_stage(
    toy: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(toy, tiling=3)
    monkeypatch.setattr(equality, "difference", lambda *a: Difference(0, 0, 0, 0))
    assert variants.check(ptq(), found, X[:1])["tiled"]["inner_litert"] == 0
    monkeypatch.setattr(equality, "difference", lambda *a: Difference(0, 0, 0, 1))
    with pytest.raises(ModelError, match=r"the tiled model differs from the plain one: .*litert=1"):
        variants.check(ptq(), found, X[:1])


def test_features_that_the_device_lacks_leave_the_network_alone_to_count(toy: Params) -> None:
    for name, value in (("n_fft", 1000), ("hop_length", toy.features.n_fft + 1)):
        features = toy.features.model_copy(update={name: value})
        surroundings = Surroundings(toy.evaluate, features, 1.0, 16000)
        assert f"features.{name}" in surroundings.no_front_end
    names = [
        line.name
        for line in variants.measure(ptq(), board(1 << 20), surroundings, 1 << 20).need.ram
    ]
    assert "front end" not in names
    assert "tensor arena" in names


def test_where_no_clip_is_levelled_nothing_is_kept_until_its_end(toy: Params) -> None:
    def ram(level: str, way: str) -> int:
        features = toy.features.model_copy(update={"level": level})
        p = toy.evaluate.model_copy(update={"level": way})
        need = variants.measure(ptq(), board(1 << 20), Surroundings(p, features, 1.0, 16000), 1 << 20).need  # fmt: skip
        return sum(line.bytes for line in need.ram if line.name in ("audio buffer", "front end"))

    assert ram("none", "whole") == ram("none", "deferred") == ram("none", "running")
    # A second of samples at 2 bytes beside a frame of them; a float for each of 59 frames.
    assert ram("clip", "whole") > ram("none", "whole") + 25_000
    assert ram("clip", "deferred") == ram("none", "deferred") + 4 * 59
