"""Bytes on the network, counted in hand-written programs and in one that XLA compiled."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from entropy_rl.parallelism import MeshConfig
from entropy_rl.plan.collectives import KINDS, collectives
from entropy_rl.plan.hlo import parse
from entropy_rl.plan.programs import Programs
from tests.plan.jobs import small_job

PROGRAM = """\
HloModule jit_f, entry_computation_layout={()->f32[3]{0}}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%async_body (p: f32[40]) -> f32[10] {
  %p = f32[40]{0} parameter(0)
  ROOT %scattered = f32[10]{0} reduce-scatter(%p), channel_id=5, replica_groups={{0,1,2,3}}, to_apply=%add
}

%body (c: (s32[], f32[3])) -> (s32[], f32[3]) {
  %c = (s32[], f32[3]{0}) parameter(0)
  %value = f32[3]{0} get-tuple-element(%c), index=1
  %start = (f32[3]{0}, f32[12]{0}) all-gather-start(%value), channel_id=1, replica_groups=[2,4]<=[8]
  %gathered = f32[12]{0:T(8,128)} all-gather-done(%start), metadata={op_name="jit(f)/while/body"}
  %reduced = f32[3]{0} all-reduce(%value), channel_id=2, replica_groups=[4,2]<=[2,2,2]T(0,2,1), to_apply=%add
  ROOT %next = (s32[], f32[3]{0}) tuple(%c, %reduced)
}

%condition (c: (s32[], f32[3])) -> pred[] {
  %c = (s32[], f32[3]{0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %bound = s32[] constant(7)
  ROOT %go = pred[] compare(%i, %bound), direction=LT
}

%dynamic (c: (s32[], f32[3])) -> pred[] {
  %c = (s32[], f32[3]{0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %bound = s32[] get-tuple-element(%c), index=0
  ROOT %go = pred[] compare(%i, %bound), direction=LT
}

%outer (c: (s32[], f32[3])) -> (s32[], f32[3]) {
  %c = (s32[], f32[3]{0}) parameter(0)
  ROOT %inner = (s32[], f32[3]{0}) while(%c), condition=%condition, body=%body
}

ENTRY %main (p: f32[3]) -> f32[3] {
  %p = f32[3]{0} parameter(0)
  %wide = f32[40]{0} broadcast(%p), dimensions={}
  %rs = ((f32[40]{0}), f32[10]{0}) async-start(%wide), calls=%async_body
  %done = f32[10]{0} async-done(%rs), calls=%async_body
  %moved = f32[3]{0} collective-permute(%p), channel_id=6, source_target_pairs={{0,0},{1,2},{2,1}}
  %both = f32[3]{0} all-reduce(%p), channel_id=7, replica_groups=mesh['x'=2,'y'=4] {'y':(2)2}, to_apply=%add
  %alone = f32[3]{0} all-reduce(%p), channel_id=8, replica_groups={{0},{1}}, to_apply=%add
  %t = (s32[], f32[3]{0}) tuple(%p, %p)
  %loop = (s32[], f32[3]{0}) while(%t), condition=%dynamic, body=%outer, metadata={op_name="jit(f)/many"}
  ROOT %out = f32[3]{0} get-tuple-element(%loop), index=1
}
"""


def test_every_collective_is_counted_once_for_each_turn_of_its_loops():
    found = collectives(parse(PROGRAM), 8, lambda loop: {"jit(f)/many": 2.5}[loop.op_name])
    seen = [(c.kind, c.bytes_sent, c.times, c.members) for c in found]
    assert seen == [
        ("reduce-scatter", 3 / 4 * 160, 1, (0, 1, 2, 3)),
        ("collective-permute", 12, 1, (1, 2)),
        ("all-reduce", 2 * 1 / 2 * 12, 1, (0, 1)),
        ("all-gather", 3 / 4 * 48, 2.5 * 7, (0, 1, 2, 3)),
        ("all-reduce", 2 * 1 / 2 * 12, 2.5 * 7, (0, 2)),
    ]


@pytest.mark.parametrize(
    ("attribute", "turns"),
    [
        ('backend_config={"known_trip_count":{"n":"11"}}', 11),
        ('backend_config={"known_trip_count":{"n":"11"},"known_init_step":{"init":"0","step":"1"}}', 11),
        ("", 7),
    ],
)
def test_the_compilers_own_note_on_a_loop_comes_first(attribute, turns):
    text = PROGRAM.replace(
        "condition=%condition, body=%body", f"condition=%condition, body=%body, {attribute}"
    )
    found = collectives(parse(text), 8, lambda loop: 1.0)
    assert {c.times for c in found if c.kind == "all-gather"} == {turns}


def test_a_reduce_scatter_that_a_tpu_makes_of_an_all_reduce_is_one():
    text = """\
%all-reduce-scatter.3 (p: f32[40]) -> f32[10] {
  %p = f32[40]{0} parameter(0)
  %sum = f32[40]{0} all-reduce(%p), channel_id=5, replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %slice = f32[10]{0} dynamic-slice(%sum), dynamic_slice_sizes={10}
}

ENTRY %main (p: f32[40]) -> f32[10] {
  %p = f32[40]{0} parameter(0)
  ROOT %out = f32[10]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.3
}
"""
    (only,) = collectives(parse(text), 4, lambda loop: 1.0)
    assert (only.kind, only.bytes_sent) == ("reduce-scatter", 3 / 4 * 160)


KERNEL = """\
ENTRY %main (p: f32[40]) -> f32[40] {
  %p = f32[40]{0} parameter(0)
  %kernel = f32[40]{0} custom-call(%p), frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block\\": 256}"
}}, metadata={op_name="jit(f)/pallas_call"}, backend_config={"custom_call_config":{"body":"TUw"}}
  %one = f32[40]{0} all-reduce(%kernel), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  ROOT %two = f32[40]{0} all-reduce(%one), channel_id=1, replica_groups={{0,1}}, to_apply=%add
}
"""


def test_what_follows_a_kernels_metadata_of_several_lines_is_read():
    entry = parse(KERNEL).computations["main"]
    assert [instruction.name for instruction in entry.instructions] == ["p", "kernel", "one", "two"]
    assert entry.root.name == "two"
    threaded = KERNEL.replace("\n}\n", '\n}, execution_thread="sparsecore"\n')
    assert parse(threaded).computations["main"] == entry


def test_collectives_of_one_channel_are_different_ones():
    assert len(collectives(parse(KERNEL), 2, lambda loop: 1.0)) == 2


def test_the_pieces_of_one_collective_are_one():
    chain = 'channel_id=7, frontend_attributes={chain_id="3"}'
    text = KERNEL.replace("channel_id=1", chain)
    assert len(collectives(parse(text), 2, lambda loop: 1.0)) == 1
    text = text.replace('chain_id="3"', 'chain_id="4"', 1)
    assert len(collectives(parse(text), 2, lambda loop: 1.0)) == 2


@pytest.mark.parametrize(
    ("groups", "members"),
    [
        ("mesh['a'=2,'b'=3] {'b'}", (0, 1, 2)),
        ("mesh['a'=2,'b'=3] {'a'}", (0, 3)),
        # Devices are numbered [[0, 1], [2, 3], [4, 5]] and transposed: [[0, 2, 4], [1, 3, 5]].
        ("mesh['a'=2,'b'=3], device_ids=([3,2]T(1,0)) {'b'}", (0, 2, 4)),
        ("mesh['a'=2,'b'=3], device_ids=([3,2]T(1,0)) {'a'}", (0, 1)),
        ("mesh['a'=2,'b'=3], device_ids=(5,4,3,2,1,0) {'b'}", (5, 4, 3)),
        ("mesh['a'=6,'b'=1], device_ids=([6]) {'a':(2)3}", (0, 1, 2)),
        ("[2,3]<=[3,2]T(1,0)", (0, 2, 4)),
    ],
)
def test_the_group_of_a_collective_in_each_notation(groups, members):
    text = KERNEL.replace("{{0,1}}", groups)
    assert {c.members for c in collectives(parse(text), 6, lambda loop: 1.0)} == {members}


def test_every_collective_of_a_compiled_program_is_parsed(tpu_devices, without_type_checks):
    text = Programs(small_job()).program("old_logp").text
    kernels = re.findall(r"^\}.+", text, flags=re.MULTILINE)
    assert kernels, "a kernel's metadata takes several lines"
    found = {i.name for c in parse(text).computations.values() for i in c.instructions if i.opcode in KINDS}
    written = re.findall(rf"%([\w.\-]+) = [^\n]*? (?:{'|'.join(KINDS)})\(", text)
    assert found == set(written) and len(found) > 20


def test_a_branch_counts_as_often_as_it_is_taken():
    text = """\
%often (p: f32[40]) -> f32[40] {
  %p = f32[40]{0} parameter(0)
  ROOT %sum = f32[40]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1}}, to_apply=%add
}

%seldom (p: f32[40]) -> f32[40] {
  %p = f32[40]{0} parameter(0)
  ROOT %other = f32[40]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1}}, to_apply=%add
}

ENTRY %main (p: f32[40], q: pred[]) -> f32[40] {
  %p = f32[40]{0} parameter(0)
  %q = pred[] parameter(1)
  ROOT %out = f32[40]{0} conditional(%q, %p, %p), BRANCHES
}
"""
    for branches in (
        "branch_computations={%often, %seldom}",
        "true_computation=%often, false_computation=%seldom",
    ):
        module = parse(text.replace("BRANCHES", branches))
        found = collectives(module, 2, lambda loop: 1.0, lambda branch: {"seldom": 0.25}.get(branch.name, 1))
        assert [c.times for c in found] == [1, 0.25]
        assert [c.times for c in collectives(module, 2, lambda loop: 1.0)] == [1, 1]


def test_a_scan_over_sharded_layers_gathers_each_layer_once():
    mesh = MeshConfig(fsdp=4).build()
    layers, width, rows = 5, 16, 8

    def run(x, w):
        return jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, w)[0]

    def stand_in(shape, *spec):
        return jax.ShapeDtypeStruct(shape, "float32", sharding=NamedSharding(mesh, PartitionSpec(*spec)))

    arguments = stand_in((rows, width), "fsdp"), stand_in((layers, width, width), None, "fsdp")
    text = jax.jit(run).lower(*arguments).compile().as_text()
    found = collectives(parse(text), 4, lambda loop: pytest.fail("a scan has a known length"))
    assert {c.kind for c in found} == {"all-gather"}
    assert sum(c.bytes_sent * c.times for c in found) == 3 / 4 * layers * width * width * 4
