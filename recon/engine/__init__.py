"""How a kernel is compiled, kept and shared among threads: no physics.

What is asked of the kernels of this package:

1. *As fast as the arithmetic.* The images of a stack are the innermost axis and fill the lanes of
   one vector (:mod:`.simd`), so that the geometry of a ray, or of a pixel, is computed once for 16
   images; arrays begin where a vector does (:mod:`.memory`). One source serves one image and 16:
   the number of lanes is the length of a tuple, the *tag*, which is a kernel's first argument.
2. *Ready at once.* Compiling R, Rᵀ and R⁻¹ takes some seconds, loading numba 0.4 s, and most
   problems take less than either. So a kernel is compiled once on a machine and runs without numba
   afterwards (:mod:`.machine_code`).
3. *The same result from any number of threads, in any thread, and in a forked process.* A kernel
   does the tasks ``first ≤ task < last`` of a job, and no two tasks write to the same place; the
   threads are Python's (:mod:`.threads`), as many as torch uses, not OpenMP's. Tasks go to
   whichever thread is free, so that a core that another program has delays the others little.
4. *Never stale, never damaged.* The name of the machine code holds a digest of the kernel's file,
   of the files of the structures that it takes, of `simd.py`, `machine_code.py`, the processor and
   the versions of numba and LLVM; the file starts with a digest of its content.
5. *Nothing is allocated and nothing is thrown*: a kernel gets arrays, numbers, named tuples of
   those (flattened on the way, at no cost), and ``room``, a piece of memory of its own.

There are two ways to compile a function here:

==================  =============================================  =================================
..                  ``@kernel`` of :mod:`.machine_code`            ``@njit(cache=True, …)`` of numba
==================  =============================================  =================================
for                 R, Rᵀ and R⁻¹ of `recon.backends`: called by   noise, helical scans, phantoms:
                    every program, on small problems too           seconds of work in any case
types               stated, float32 alone                          found by numba, also float64
memory              ``room`` alone                                 may allocate rows of its own
kept in             ``*.machine-code``                             ``*.nbi`` and ``*.nbc``
made anew when      anything of point 4 changes                    the function's *own file* changes
==================  =============================================  =================================

The first are kept in this folder's ``__pycache__``, the others in that of their sources; all of
them in numba's cache folder if one is set, and at home if the sources cannot be written to. Mind
the last line: neither way looks into the other files from which a function takes *functions*. So
helpers of a ``@kernel`` stand in its own file or in `simd.py`; and who changes `engine/simd.py`,
`dose/vectors.py`, `dose/streams.py`, `helical/lookup.py` or ``Rays`` of the phantoms removes the
``*.nbi`` files of those who use them.
"""
