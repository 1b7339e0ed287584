# Packed codebooks for the search, for the bindings of the search and of the engine.

cdef extern from "rvq/rvq.h" nogil:
    ctypedef struct nac_rvq_plan:
        size_t levels, codewords, dim
        const float *codebooks
        float *panels
        float *half
        void *screen
    size_t nac_rvq_panels_size(size_t levels, size_t codewords, size_t dim)
    size_t nac_rvq_half_size(size_t levels, size_t codewords)
    size_t nac_rvq_screen_size(int isa, size_t levels, size_t codewords, size_t dim)
    void nac_rvq_pack(const nac_rvq_plan *plan, int isa)
