/* A list of the greatest k logits, best first, that grows id by id. */
#ifndef CGK_REF_TOP_H
#define CGK_REF_TOP_H

#include <stdint.h>

/* Put entry i in its place, if it has one. Ids come in ascending order, so that of equals the lower one stays first.
 * ids: [k], of which `found` are taken. Returns how many are taken now. */
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
