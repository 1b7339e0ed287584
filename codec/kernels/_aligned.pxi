# Aligned memory, for all bindings. They include this text after `import numpy as np`.

from libc.stdint cimport uintptr_t

cdef extern from "common/align.h" nogil:
    enum:
        NAC_ALIGN


cdef _aligned(size_t floats):
    """Zeroed float32 memory whose address is a multiple of NAC_ALIGN."""
    memory = np.zeros(floats + NAC_ALIGN // 4, np.float32)
    cdef uintptr_t address = memory.ctypes.data
    cdef size_t skip = (-address % NAC_ALIGN) // 4
    return memory[skip:skip + floats]
