/* A list of the k greatest logits, best first, built id by id. */
#ifndef CGK_REF_TOP_H
#define CGK_REF_TOP_H

#include <stdint.h>

/* Insert entry i at its place, if it has one. Ids come in ascending order, so the lower of equals stays first.
 * ids: [k], of which `found` are used. Returns how many are used now. */
static inline uint32_t top_insert(int32_t *ids, uint32_t found, uint32_t k, const float *logits, uint32_t i) {
    if (found == k && logits[i] <= logits[ids[k - 1]]) {
        return found;
    }
    uint32_t place = found < k ? found++ : k - 1;
    for (; place > 0 && logits[i] > logits[ids[place - 1]]; place--) {
        ids[place] = ids[place - 1];
    }
    ids[place] = (int32_t)i;
    return found;
}

#endif
