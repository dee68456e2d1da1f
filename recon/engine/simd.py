"""Vectors of float32 for numba kernels: one lane per image.

A stack of images is stored with the image index innermost, so that one ray's geometry serves all
lanes. The number of lanes is part of a kernel's type: it is handed over as a tuple of that many
zeros (:func:`lanes`), and one kernel source serves a single image and stacks of 16. On a machine
whose registers are shorter the compiler splits a vector; nothing else changes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

__all__ = [
    "FAST",
    "WIDTHS",
    "add",
    "fma",
    "lanes",
    "lerp_add",
    "load",
    "quotient",
    "scale",
    "splat",
    "store",
    "sub",
    "transpose",
    "width_for",
    "zero",
]

WIDTHS = (1, 16)
"""One image alone, or up to 16 at the price of one stack: few kernels, quickly compiled."""

FAST = ("contract", "nsz", "arcp")
"""Flags of arithmetic: rounding may be fused; NaN and infinity keep their meaning."""


def lanes(width: int) -> tuple[int, ...]:
    """Return the tag that tells a kernel how many images are processed together."""
    return (0,) * width


def width_for(images: int) -> int:
    """Return the narrowest vector that holds ``images`` images, 16 at most."""
    return next((width for width in WIDTHS if width >= images), WIDTHS[-1])


class Vector(types.Type):
    """A vector of ``width`` float32 as a numba type."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"float32x{width}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.width))


def splat(builder: Any, scalar: Any, width: int) -> Any:
    """Build a vector whose lanes all hold one float32."""
    vector = ir.VectorType(ir.FloatType(), width)
    one = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    order = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


def _pointer(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, width: int
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    element = builder.gep(data, [index])
    return builder.bitcast(element, ir.VectorType(ir.FloatType(), width).as_pointer())


@intrinsic
def zero(_: Any, tag: Any) -> Any:
    """``zero(tag)``: a vector of zeros."""
    kind = Vector(len(tag))

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.VectorType(ir.FloatType(), kind.width), [0.0] * kind.width)

    return kind(tag), build


@intrinsic
def load(_: Any, tag: Any, array: Any, index: Any) -> Any:
    """``load(tag, array, index)``: the lanes that start at ``array[index]`` (flat float32)."""
    kind = Vector(len(tag))

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(
            _pointer(context, builder, signature.args[1], args[1], args[2], kind.width)
        )
        value.align = 4
        return value

    return kind(tag, array, types.int64), build


@intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """``store(array, index, value)``: write the lanes to ``array[index:]`` (flat float32)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], value.width)
        written = builder.store(args[2], pointer)
        written.align = 4
        return context.get_dummy_value()

    return types.none(array, types.int64, value), build


def _lane_by_lane(operation: str) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, operation)(*args, flags=FAST)

    return build


@intrinsic
def add(_: Any, left: Any, right: Any) -> Any:
    """``add(left, right)``."""

    return left(left, right), _lane_by_lane("fadd")


@intrinsic
def sub(_: Any, left: Any, right: Any) -> Any:
    """``sub(left, right)``."""

    return left(left, right), _lane_by_lane("fsub")


@intrinsic
def scale(_: Any, value: Any, factor: Any) -> Any:
    """``scale(value, factor)`` with one factor for all lanes."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(args[0], splat(builder, args[1], value.width), flags=FAST)

    return value(value, types.float32), build


@intrinsic
def fma(_: Any, total: Any, value: Any, factor: Any) -> Any:
    """``fma(total, value, factor)``: total + value · factor, one factor for all lanes."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product = builder.fmul(args[1], splat(builder, args[2], value.width), flags=FAST)
        return builder.fadd(args[0], product, flags=FAST)

    return total(total, value, types.float32), build


@intrinsic
def lerp_add(_: Any, total: Any, left: Any, right: Any, weight: Any) -> Any:
    """``lerp_add(total, left, right, weight)``: total + left + weight · (right - left)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rise = builder.fsub(args[2], args[1], flags=FAST)
        step = builder.fmul(rise, splat(builder, args[3], left.width), flags=FAST)
        return builder.fadd(builder.fadd(args[0], args[1], flags=FAST), step, flags=FAST)

    return total(total, left, right, types.float32), build


@intrinsic
def quotient(_: Any, value: Any, divisor: Any, least: Any) -> Any:
    """``quotient(value, divisor, least)``: value / divisor, or 0 where that is not above least."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, divisor, least = args
        width = signature.return_type.width
        none = ir.Constant(ir.VectorType(ir.FloatType(), width), [0.0] * width)
        enough = builder.fcmp_ordered(">", divisor, splat(builder, least, width))
        return builder.select(enough, builder.fdiv(value, divisor, flags=FAST), none)

    return value(value, divisor, types.float32), build


@intrinsic
def transpose(_: Any, tag: Any, rows: Any, first: Any, stride: Any, cols: Any, at: Any,
              step: Any) -> Any:  # fmt: skip
    """``transpose(tag, rows, first, stride, cols, at, step)``: a square, as wide as a vector.

    ``cols[at + step·j + i] = rows[first + stride·i + j]``, both flat float32. Rows i and i + h
    exchange halves of every 2h numbers, for h from half the width to 1.
    """
    width = len(tag)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, source, first, stride, target, at, step = args
        order = ir.VectorType(ir.IntType(32), width)

        def pointer(kind: Any, array: Any, start: Any, apart: Any, i: int) -> Any:
            place = builder.add(start, builder.mul(apart, ir.Constant(ir.IntType(64), i)))
            return _pointer(context, builder, kind, array, place, width)

        lines = []
        for i in range(width):
            line = builder.load(pointer(signature.args[1], source, first, stride, i))
            line.align = 4
            lines.append(line)
        half = width // 2
        while half:
            for i in (i for i in range(width) if not i & half):
                one, other = lines[i], lines[i + half]
                low = [j - half + width if j & half else j for j in range(width)]
                high = [j + width if j & half else j + half for j in range(width)]
                lines[i] = builder.shuffle_vector(one, other, ir.Constant(order, low))
                lines[i + half] = builder.shuffle_vector(one, other, ir.Constant(order, high))
            half //= 2
        for j, line in enumerate(lines):
            written = builder.store(line, pointer(signature.args[4], target, at, step, j))
            written.align = 4
        return context.get_dummy_value()

    index = types.int64
    return types.none(tag, rows, index, index, cols, index, index), build
