/* The one order in which the kernels add up what lies along a row. */
#ifndef NAC_FOLD_H
#define NAC_FOLD_H

#include "kernels.h"

/* The sum of NAC_PANEL partial sums, lane l that of x[l], x[l + NAC_PANEL], ...: halves are added to
 * halves, an order that vectors of any length can keep. Overwrites `lane`. */
ALWAYS_INLINE float fold(float *lane)
{
    for (int half = NAC_PANEL / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

#endif
