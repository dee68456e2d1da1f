"""Kernels that numba compiles once and that run without numba afterwards.

A kernel is a function of arrays and numbers that numba knows how to compile. Its machine code is
kept as a file and called through :mod:`ctypes`: numba's own cache would first load every type and
function that numba knows, which takes longer (0.4 s) than most problems. A kernel does part of a
job, so each call is shared among threads by :mod:`recon.engine.threads`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import inspect
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
from llvmlite import binding as llvm
from numba.core import types
from numba.core.dispatcher import Dispatcher

from ..storage import write_atomic
from .memory import aligned_empty
from .threads import share

__all__ = ["Kernel", "kernel"]

_C = {types.int64: ctypes.c_int64, types.int32: ctypes.c_int32, types.float32: ctypes.c_float}
_GROUPS: Any = (types.NamedTuple, types.NamedUniTuple)
_LIBRARY = {"memset", "memcpy", "memmove", "bzero"}  # all that a kernel may call
_config: Any = numba.config
_lock = threading.Lock()


@functools.cache
def _processor() -> tuple[str, str]:
    """Name and features of the processor, or what numba is told to take it for."""
    features = _config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return _config.CPU_NAME or llvm.get_host_cpu_name(), features


@functools.cache
def _target() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    cpu, features = _processor()
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )


@functools.cache
def _engine() -> llvm.ExecutionEngine:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())


def _folders() -> list[Path]:
    """Where machine code may be kept: where numba keeps its own, or beside the sources, or home."""
    if _config.CACHE_DIR:
        return [Path(_config.CACHE_DIR)]
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return [Path(__file__).parent / "__pycache__", home / "ctxai"]


class _Array(NamedTuple):
    """What an array argument must be."""

    dtype: np.dtype
    ndim: int


class _Group(NamedTuple):
    """What an argument that groups others must be."""

    structure: Any
    members: list[Any]


class _NotAlone(RuntimeError):
    """A function that cannot run without numba."""


def _types_of(annotated: Any) -> list[Any]:
    """Numba's types of the arguments of a function, or of the fields of a NamedTuple."""
    return [
        types.BaseTuple.from_types(_types_of(kind), kind) if isinstance(kind, type) else kind
        for kind in inspect.get_annotations(annotated).values()
    ]


def _kind_of(kind: Any) -> Any:
    """What is asked of an argument of one of numba's types."""
    if isinstance(kind, _GROUPS):
        return _Group(kind.instance_class, [_kind_of(member) for member in kind.types])
    if isinstance(kind, types.Array):
        return _Array(np.dtype(kind.dtype.name), kind.ndim)
    return float if isinstance(kind, types.Float) else int


def _structures(kinds: list[Any]) -> list[Any]:
    """The NamedTuples among the arguments, and among their members."""
    groups = [kind for kind in kinds if isinstance(kind, _Group)]
    return [part for g in groups for part in (g.structure, *_structures(g.members))]


def _c_types_of(kind: Any) -> list[Any]:
    """Types of the machine code's arguments that stand for one of the function's."""
    if isinstance(kind, _GROUPS):
        return [part for member in kind.types for part in _c_types_of(member)]
    if isinstance(kind, types.Array):  # owner, parent, items, bytes of one, data, shape, strides
        sizes = [ctypes.c_int64] * (2 + 2 * kind.ndim)
        return [ctypes.c_void_p, ctypes.c_void_p, *sizes[:2], ctypes.c_void_p, *sizes[2:]]
    return [_C[kind]]


class Kernel:
    """A compiled function, called as ``kernel(tag, tasks, *arguments, room=0)``.

    The function's own arguments are (tag, room, first, last, *arguments): it does the tasks
    ``first ≤ task < last``, with ``room`` floats of its own. Arrays and numbers are annotated with
    numba's types, and what belongs together with a NamedTuple whose fields are annotated so. An
    argument that is not what its annotation says is a TypeError.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        if function.__closure__:
            raise TypeError(f"{function.__qualname__} depends on what its file does not tell")
        functools.update_wrapper(self, function)
        self._function = function
        self._types = _types_of(function)
        self._kinds = [_kind_of(kind) for kind in self._types]
        self._calls: dict[int, Callable[..., Any]] = {}

    def __call__(self, tag: tuple[int, ...], tasks: int, *arguments: Any, room: int = 0) -> None:
        """Do all tasks, on as many threads as torch uses."""
        flat = self._flat(self._kinds[3:], arguments)
        call = self._calls.get(len(tag)) or self._loaded(len(tag))

        def work(first: int, last: int) -> None:
            space = aligned_empty(room)
            if isinstance(call, Dispatcher):
                call(tag, space, first, last, *arguments)
                return
            result = (ctypes.c_void_p * 2)()
            head = self._flat(self._kinds[:1], (space,))
            at = ctypes.addressof(result)
            if call(at, at + 8, *tag, *head, first, last, *flat):
                raise RuntimeError(f"the kernel {self._function.__qualname__} failed")

        share(tasks, work)

    def _flat(self, kinds: list[Any], arguments: tuple[Any, ...]) -> list[Any]:
        """Arguments as numba hands them over: of an array, its parts; of a group, its members."""
        flat: list[Any] = []
        name = self._function.__qualname__
        if len(kinds) != len(arguments):
            raise TypeError(f"{name} takes {len(kinds)} arguments, not {len(arguments)}")
        for kind, value in zip(kinds, arguments):
            if isinstance(kind, _Group):  # numba hands over its members one after the other
                if not isinstance(value, kind.structure):
                    expected, found = kind.structure.__name__, type(value).__name__
                    raise TypeError(f"{name}: {expected} expected, not {found}")
                flat += self._flat(kind.members, value)
                continue
            if not isinstance(kind, _Array):
                flat.append(kind(value))
                continue
            if value.dtype != kind.dtype or value.ndim != kind.ndim:
                raise TypeError(
                    f"{name}: {kind.ndim}-d {kind.dtype} expected, not {value.ndim}-d {value.dtype}"
                )
            if not value.flags.c_contiguous:
                raise TypeError(f"{name}: an array is not contiguous")
            flat += (None, None, value.size, value.itemsize, value.ctypes.data)
            flat += (*value.shape, *value.strides)
        return flat

    def _c_types(self, width: int) -> list[Any]:
        """Types of the machine code's arguments; the first two are where it leaves its result."""
        own = [part for kind in self._types for part in _c_types_of(kind)]
        return [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * width, *own]

    def _loaded(self, width: int) -> Callable[..., Any]:
        with _lock:
            if width not in self._calls:
                try:
                    self._calls[width] = self._stand_alone(width)
                except _NotAlone as error:  # another numba may lay out its functions differently
                    warnings.warn(
                        f"{error}; numba {numba.__version__} compiles it anew in each process",
                        stacklevel=3,
                    )
                    compiled = numba.njit(nogil=True, error_model="numpy")(self._function)
                    compiled.compile(self._signature(width))
                    self._calls[width] = compiled
        return self._calls[width]

    def _stand_alone(self, width: int) -> Callable[..., int]:
        name = self._name(width)
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(self._kept(name, width)))
        engine.finalize_object()
        signature = ctypes.CFUNCTYPE(ctypes.c_int32, *self._c_types(width))
        return signature(engine.get_function_address(name))

    def _signature(self, width: int) -> Any:
        return types.void(types.UniTuple(types.int64, width), *self._types)

    def _name(self, width: int) -> str:
        """Name of the machine code, with a digest of all that it is made from."""
        made_of: list[Any] = [self._function, *_structures(self._kinds)]
        sources = dict.fromkeys(inspect.getsourcefile(part) or __file__ for part in made_of)
        files = [*map(Path, sources), Path(__file__), Path(__file__).with_name("simd.py")]
        recipe = [file.read_bytes() for file in files]
        recipe += [repr((_processor(), numba.__version__, llvmlite.__version__)).encode()]
        digest = hashlib.sha256(b"\0".join(recipe)).hexdigest()[:16]
        return f"{files[0].stem}.{self._function.__qualname__}-{width}.{digest}"

    def _kept(self, name: str, width: int) -> bytes:
        """Machine code from its file, or compiled now and written there."""
        file = f"{name}.machine-code"
        for folder in _folders():
            with contextlib.suppress(OSError):  # no such file: it is made below
                content = (folder / file).read_bytes()
                digest, code = content[:32], content[32:]
                if digest == hashlib.sha256(code).digest():
                    return code
        code = self._compiled(name, width)
        for folder in _folders():
            with contextlib.suppress(OSError):  # not writable: the next one, or compiled each time
                write_atomic(folder / file, hashlib.sha256(code).digest() + code)
                break
        return code

    def _compiled(self, name: str, width: int) -> bytes:
        """Compile with numba and keep the function alone, without numba's wrapper for C."""
        options: dict[str, Any] = {"error_model": "numpy", "_nrt": False}  # nothing is allocated
        wrapped = numba.cfunc(self._signature(width), **options)(self._function)
        module = llvm.parse_assembly(wrapped.inspect_llvm())
        alone = module.get_function(wrapped.native_name.removeprefix("cfunc."))
        alone.name = name
        for function in module.functions:
            if not function.is_declaration and function.name != name:
                function.linkage = "internal"
        passes = llvm.create_new_module_pass_manager()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(
            module, llvm.create_pass_builder(_target(), llvm.create_pipeline_tuning_options())
        )
        needed = {f.name for f in module.functions if f.is_declaration}
        foreign = {n for n in needed if not n.startswith("llvm.")} - _LIBRARY
        found = len(list(alone.arguments))
        if foreign or found != len(self._c_types(width)):
            raise _NotAlone(
                f"{name} cannot stand alone: {found} arguments, and it needs {sorted(foreign)}"
            )
        return _target().emit_object(module)


kernel = Kernel
"""Makes a kernel of a function whose arguments but the tag are annotated with numba's types."""
