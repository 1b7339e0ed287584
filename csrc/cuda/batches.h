/* Which frames of which items make a batch. Plain C++: nothing here knows of a GPU. */
#ifndef NAC_CUDA_BATCHES_H
#define NAC_CUDA_BATCHES_H

#include <stddef.h>

#include <algorithm>
#include <vector>

namespace engine {

/* Frames [from, to) of an item, all that the network sees of it here; [first, last) of them count. */
struct piece {
    size_t item, from, to, first, last;
};

struct batch {
    std::vector<piece> pieces;
    size_t frames = 0, kept = 0;
};

/* Frames before and after one that it depends on. */
struct reach {
    size_t before, after;
};

inline size_t up(size_t n, size_t unit) { return (n + unit - 1) / unit; }

/* Puts items into batches of at most `most` frames, more than around.before + around.after, in order.
 * What fits into a batch as a whole stays whole; what does not is cut into spans, each with all that
 * its frames depend on. */
inline std::vector<batch> plan_batches(const std::vector<size_t> &frames, size_t most, reach around)
{
    const size_t longest = most - around.before - around.after;
    std::vector<batch> batches;
    const auto put = [&](const piece &p) {
        const size_t size = p.to - p.from;
        if (batches.empty() || batches.back().frames + size > most) batches.emplace_back();
        batch &last = batches.back();
        last.pieces.push_back(p);
        last.frames += size;
        last.kept += p.last - p.first;
    };
    for (size_t item = 0; item < frames.size(); item++) {
        const size_t n = frames[item];
        if (n == 0) continue;
        if (n <= most) {
            put({item, 0, n, 0, n});
            continue;
        }
        for (size_t first = 0; first < n; first += longest) {
            const size_t last = std::min(first + longest, n);
            put({item, first - std::min(first, around.before), std::min(n, last + around.after),
                 first, last});
        }
    }
    return batches;
}

} // namespace engine

#endif
