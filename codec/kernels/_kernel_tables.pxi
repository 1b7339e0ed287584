# What the engine's and the entropy coders' bindings share: the tables of kernels that this CPU runs,
# and memory for them. Text that they include after `import numpy as np`, for a module to cimport
# would be one more extension to build and ship.

from libc.stdint cimport uintptr_t

cdef extern from "kernels/kernels.h" nogil:
    enum:
        NAC_PANEL
        NAC_ALIGN
    ctypedef struct nac_dense:
        size_t depth, width
        const float *panels
        const float *bias
    ctypedef struct nac_kernels:
        const char *name
        int isa
        void (*dense)(const nac_dense *, const float *, size_t, size_t, float *) noexcept nogil
        void (*dense_add)(const nac_dense *, const float *, size_t, size_t, float *) noexcept nogil
        void (*gelu)(float *, size_t) noexcept nogil
    const nac_kernels *nac_kernels_at(size_t i)
    void nac_dense_pack(const float *weight, size_t depth, size_t columns, float *panels)


def isas():
    """Names of the instruction sets that this CPU runs, narrowest first."""
    names, i = [], 0
    while nac_kernels_at(i) != NULL:
        names.append(nac_kernels_at(i).name.decode())
        i += 1
    return tuple(names)


cdef const nac_kernels *_kernels(object name) except NULL:
    available = isas()
    if name is None:
        name = available[len(available) - 1]
    if name not in available:
        raise ValueError(f"this CPU runs {', '.join(available)}, not {name}")
    return nac_kernels_at(available.index(name))


cdef size_t _padded(size_t n, size_t unit=NAC_PANEL) noexcept:
    return (n + unit - 1) // unit * unit


cdef _aligned(size_t floats):
    """Zeroed float32 memory whose address is a multiple of NAC_ALIGN."""
    memory = np.zeros(floats + NAC_ALIGN // 4, np.float32)
    cdef uintptr_t address = memory.ctypes.data
    cdef size_t skip = (-address % NAC_ALIGN) // 4
    return memory[skip:skip + floats]
