# What the bindings of the engine and of the entropy coders share: the tables of kernels that this
# CPU runs, and memory for their layers. The modules include this text after `import numpy as np`:
# a module to cimport would be one more extension to build and ship.

include "_aligned.pxi"

cdef extern from "kernels/kernels.h" nogil:
    enum:
        NAC_PANEL
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


cdef class _Buffers:
    """Owns the memory that C structures point to, and fills the structures of layers."""

    cdef list keep

    def __cinit__(self):
        self.keep = []

    cdef const float *floats(self, array, size_t size) except NULL:
        cdef const float[::1] view = np.ascontiguousarray(array, np.float32).reshape(-1)
        if <size_t>view.shape[0] != size or size == 0:
            raise ValueError(f"{view.shape[0]} values where {size} are needed")
        self.keep.append(view)
        return &view[0]

    cdef const float *padded(self, array, size_t size) except NULL:
        """Continue a vector with zeros to a multiple of NAC_PANEL."""
        if np.shape(array) != (size,):
            raise ValueError(f"shape {np.shape(array)} where ({size},) is needed")
        memory = _aligned(_padded(size))
        memory[:size] = array
        return self.floats(memory, _padded(size))

    cdef int load_dense(self, nac_dense *layer, weight, bias, size_t columns, size_t depth) except -1:
        """Pack a layer: weight [columns, depth], bias [columns] or None."""
        if np.shape(weight) != (columns, depth):
            raise ValueError(f"shape {np.shape(weight)} where {(columns, depth)} is needed")
        cdef const float[:, ::1] rows = np.ascontiguousarray(weight, np.float32)
        cdef float[::1] panels = _aligned(_padded(columns) * depth)
        with nogil:
            nac_dense_pack(&rows[0, 0], depth, columns, &panels[0])
        self.keep.append(panels)
        layer.depth, layer.width, layer.panels = depth, _padded(columns), &panels[0]
        if bias is not None:
            layer.bias = self.padded(bias, columns)
        return 0
