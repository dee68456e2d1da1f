"""A running sum over detector rows, read at 16 heights at once.

The rows of one ray fan are few, so their running sum stays in a few vector registers, a tuple of
them in a kernel; where the processor can pick any element of a register pair (AVX-512), a look-up
of 16 heights takes a handful of instructions. Elsewhere the registers are written to memory and the
elements loaded one by one, with the same result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..engine.simd import FAST, Vector, lanes, splat

__all__ = ["LANES", "Rise", "blend", "edge", "falls", "table", "table_tag", "table_width"]

LANES = lanes(16)
"""Tag of the kernels: 16 slices at once."""

_FLOATS = ir.VectorType(ir.FloatType(), 16)
_INTS = ir.VectorType(ir.IntType(32), 16)
_WIDEST = 8  # registers of one table, 128 rows


def table_width(rows: int) -> int:
    """Return the length of the table of that many rows: 16 times a power of 2."""
    return 16 << max((rows - 1) // 16, 0).bit_length()


def table_tag(rows: int) -> tuple[int, ...]:
    """Return the tag that tells a kernel how many registers a table fills."""
    return (0,) * (table_width(rows) // 16)


def _vector(value: Any) -> Any:
    return ir.Constant(_FLOATS, [value] * 16)


def _integers(value: int) -> Any:
    return ir.Constant(_INTS, [value] * 16)


def _clip(builder: Any, value: Any, low: Any, high: Any) -> Any:
    value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
    return builder.select(builder.fcmp_ordered(">", value, low), value, low)


def _pick(builder: Any, table: list[Any], index: Any) -> Any:
    """Elements ``index`` of a table of up to 8 registers, by the processor's own shuffle."""
    parts = table if len(table) > 1 else 2 * table
    kind = ir.FunctionType(_FLOATS, (_FLOATS, _INTS, _FLOATS))
    name = "llvm.x86.avx512.vpermi2var.ps.512"
    shuffle = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    parts = [
        builder.call(shuffle, (parts[k], index, parts[k + 1])) for k in range(0, len(parts), 2)
    ]
    bit = 32
    while len(parts) > 1:  # halves, by one bit of the index each
        upper = builder.icmp_signed("!=", builder.and_(index, _integers(bit)), _integers(0))
        parts = [builder.select(upper, parts[k + 1], parts[k]) for k in range(0, len(parts), 2)]
        bit *= 2
    return parts[0]


def _gather(builder: Any, table: list[Any], index: Any) -> Any:
    """The same, one element after the other."""
    memory = cgutils.alloca_once(builder, ir.ArrayType(_FLOATS, len(table)))
    for k, register in enumerate(table):
        builder.store(register, cgutils.gep_inbounds(builder, memory, 0, k))
    first = builder.bitcast(memory, ir.FloatType().as_pointer())
    index = builder.and_(index, _integers(16 * len(table) - 1))
    out = ir.Constant(_FLOATS, ir.Undefined)
    for k in range(16):  # lanes
        lane = ir.Constant(ir.IntType(32), k)
        at = builder.zext(builder.extract_element(index, lane), ir.IntType(64))
        out = builder.insert_element(out, builder.load(builder.gep(first, [at])), lane)
    return out


@intrinsic
def table(_: Any, registers: Any, array: Any, index: Any) -> Any:
    """``table(registers, array, index)``: the registers that begin at ``array[index]``."""
    kind = types.UniTuple(Vector(16), len(registers))

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        parts = []
        for k in range(kind.count):  # registers of 16 rows
            at = builder.add(args[2], ir.Constant(ir.IntType(64), 16 * k))
            part = builder.load(builder.bitcast(builder.gep(data, [at]), _FLOATS.as_pointer()))
            part.align = 4
            parts.append(part)
        return context.make_tuple(builder, kind, parts)

    return kind(registers, array, types.int64), build


@intrinsic
def blend(_: Any, one: Any, other: Any, share: Any) -> Any:
    """``blend(one, other, share)``: the table one + share · (other - one)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight = splat(builder, args[2], 16)
        parts = []
        for k in range(one.count):  # registers of 16 rows
            low, high = (builder.extract_value(args[n], k) for n in (0, 1))
            rise = builder.fmul(builder.fsub(high, low, flags=FAST), weight, flags=FAST)
            parts.append(builder.fadd(low, rise, flags=FAST))
        return context.make_tuple(builder, one, parts)

    return one(one, other, types.float32), build


@intrinsic
def falls(_: Any, value: Any) -> Any:
    """``falls(value)``: each lane less the one after it; 0 in the last."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        order = ir.Constant(_INTS, [*range(1, 16), 15])
        after = builder.shuffle_vector(args[0], ir.Constant(_FLOATS, ir.Undefined), order)
        return builder.fsub(args[0], after, flags=FAST)

    return value(value), build


class Rise(NamedTuple):
    """How the running sum rises from row to row.

    Between two entries it rises by ``clip(gain·u + shift, 0, 1)`` of their difference, with u the
    fraction of the step between them: a sample stands for ``1/gain`` of a row, in its middle.
    """

    top: np.float32  # the last row's number, where the table ends [rows]
    gain: np.float32
    shift: np.float32


@intrinsic
def edge(_: Any, table: Any, heights: Any, start: Any, step: Any, rise: Any) -> Any:
    """Running sums at the row coordinates ``start + step·heights``, clipped to 0 … top.

    ``edge(table, heights, start, step, rise)``: ``table`` are the running sums of one ray,
    ``heights`` a vector of 16 places along z [mm], ``start`` [rows] and ``step`` [rows/mm] take
    them to rows, and ``rise`` is a :class:`Rise`.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        heights, start, step, rise = args[1:]
        registers = [builder.extract_value(args[0], k) for k in range(table.count)]
        top, gain, shift = (builder.extract_value(rise, k) for k in range(3))
        row = builder.fmul(heights, splat(builder, step, 16), flags=FAST)
        row = builder.fadd(row, splat(builder, start, 16), flags=FAST)
        row = _clip(builder, row, _vector(0.0), splat(builder, top, 16))
        index = builder.fptosi(row, _INTS)
        way = builder.fsub(row, builder.sitofp(index, _FLOATS), flags=FAST)
        way = builder.fmul(way, splat(builder, gain, 16), flags=FAST)
        way = builder.fadd(way, splat(builder, shift, 16), flags=FAST)
        way = _clip(builder, way, _vector(0.0), _vector(1.0))
        wide = "+avx512f" in context.codegen().magic_tuple()[2] and table.count <= _WIDEST
        look_up = _pick if wide else _gather
        low = look_up(builder, registers, index)
        high = look_up(builder, registers, builder.add(index, _integers(1)))
        part = builder.fmul(builder.fsub(high, low, flags=FAST), way, flags=FAST)
        return builder.fadd(low, part, flags=FAST)

    return heights(table, heights, types.float32, types.float32, rise), build
