// iommu.c: a sorted array of intervals, searched by halving.
//
// Intervals are kept by their last byte, not by their end, so that one may reach up to the very top of the 64-bit
// address space. No two overlap. Two that touch, in IOVA and in memory and with equal rights, become one.
#include "iommu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct interval {
    uint64_t first, last;
    char *memory;
    int rights;
};

struct iommu {
    struct interval *intervals;
    unsigned count, room;
    unsigned hit;  // index of the interval that the last translation found
};

struct iommu *iommu_create(void) {
    return calloc(1, sizeof(struct iommu));
}

void iommu_destroy(struct iommu *iommu) {
    if (!iommu) return;
    free(iommu->intervals);
    free(iommu);
}

// The first interval that ends at or after `iova`; `count` if there is none.
static unsigned find(const struct iommu *iommu, uint64_t iova) {
    unsigned low = 0, high = iommu->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (iommu->intervals[middle].last < iova) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int reserve(struct iommu *iommu, unsigned more) {
    if (iommu->room - iommu->count >= more) return 0;
    unsigned room = iommu->room ? iommu->room * 2 : 16;
    struct interval *grown = realloc(iommu->intervals, room * sizeof *grown);
    if (!grown) return -ENOMEM;
    iommu->intervals = grown;
    iommu->room = room;
    return 0;
}

static int insert(struct iommu *iommu, unsigned at, struct interval interval) {
    if (reserve(iommu, 1) != 0) return -ENOMEM;
    struct interval *place = &iommu->intervals[at];
    memmove(place + 1, place, (iommu->count - at) * sizeof *place);
    *place = interval;
    iommu->count++;
    return 0;
}

static void delete (struct iommu *iommu, unsigned at, unsigned count) {
    if (count == 0) return;
    struct interval *place = &iommu->intervals[at];
    memmove(place, place + count, (iommu->count - at - count) * sizeof *place);
    iommu->count -= count;
}

static bool continues(const struct interval *a, const struct interval *b) {
    return a->last + 1 == b->first && a->memory + (a->last - a->first) + 1 == b->memory && a->rights == b->rights;
}

int iommu_map(struct iommu *iommu, uint64_t iova, uint64_t size, void *memory, int rights) {
    struct interval new = {iova, iova + size - 1, memory, rights};
    if (size == 0 || new.last < iova) return -EINVAL;
    unsigned at = find(iommu, iova);
    if (at < iommu->count && iommu->intervals[at].first <= new.last) return -EEXIST;

    struct interval *before = at > 0 ? &iommu->intervals[at - 1] : NULL;
    struct interval *after = at < iommu->count ? &iommu->intervals[at] : NULL;
    if (before && !continues(before, &new)) before = NULL;
    if (after && !continues(&new, after)) after = NULL;
    if (before) {
        before->last = after ? after->last : new.last;
        if (after) delete (iommu, at, 1);
    } else if (after) {
        after->first = new.first;
        after->memory = new.memory;
    } else {
        return insert(iommu, at, new);
    }
    return 0;
}

int64_t iommu_unmap(struct iommu *iommu, uint64_t iova, uint64_t size) {
    if (size == 0) return 0;
    uint64_t last = iova + size - 1 < iova ? UINT64_MAX : iova + size - 1;
    int64_t forgotten = 0;
    unsigned at = find(iommu, iova);

    // The first may reach beyond on either side; what is left of it stays.
    if (at < iommu->count && iommu->intervals[at].first < iova) {
        struct interval *cut = &iommu->intervals[at];
        struct interval rest = {iova, cut->last, cut->memory + (iova - cut->first), cut->rights};
        int error = insert(iommu, at + 1, rest);
        if (error) return error;
        iommu->intervals[at++].last = iova - 1;
    }
    unsigned whole = at;
    while (whole < iommu->count && iommu->intervals[whole].last <= last) {
        forgotten += (int64_t)(iommu->intervals[whole].last - iommu->intervals[whole].first + 1);
        whole++;
    }
    delete (iommu, at, whole - at);
    if (at < iommu->count && iommu->intervals[at].first <= last) {
        struct interval *cut = &iommu->intervals[at];
        uint64_t length = last - cut->first + 1;
        cut->first += length;
        cut->memory += length;
        forgotten += (int64_t)length;
    }
    iommu->hit = 0;
    return forgotten;
}

// What is unmapped may be cut in two, and the new piece comes between them.
int iommu_replace(struct iommu *iommu, uint64_t iova, uint64_t size, void *memory, int rights) {
    if (size == 0 || iova + size - 1 < iova) return -EINVAL;
    if (reserve(iommu, 2) != 0) return -ENOMEM;
    iommu_unmap(iommu, iova, size);
    return iommu_map(iommu, iova, size, memory, rights);
}

static const struct interval *around(struct iommu *iommu, uint64_t iova) {
    if (!iommu) return NULL;
    unsigned at = iommu->hit;
    if (at >= iommu->count || iova < iommu->intervals[at].first || iova > iommu->intervals[at].last) {
        at = find(iommu, iova);
        if (at == iommu->count || iommu->intervals[at].first > iova) return NULL;
        iommu->hit = at;
    }
    return &iommu->intervals[at];
}

void *iommu_translate(struct iommu *iommu, uint64_t iova, int right, uint64_t *contiguous) {
    const struct interval *interval = around(iommu, iova);
    if (!interval || !(interval->rights & right)) return NULL;
    *contiguous = interval->last - iova + 1;
    return interval->memory + (iova - interval->first);
}

void *iommu_piece(struct iommu *iommu, uint64_t iova, int rights, uint64_t *first, uint64_t *size) {
    const struct interval *interval = around(iommu, iova);
    if (!interval || (interval->rights & rights) != rights) return NULL;
    *first = interval->first;
    *size = interval->last - interval->first + 1;
    return interval->memory;
}

static bool shares_memory(const struct interval *interval, const char *memory, size_t size) {
    uintptr_t first = (uintptr_t)interval->memory, last = first + (uintptr_t)(interval->last - interval->first);
    return size && (uintptr_t)memory <= last && first <= (uintptr_t)memory + (size - 1);
}

bool iommu_maps_memory(const struct iommu *iommu, const void *memory, size_t size) {
    for (unsigned i = 0; i < iommu->count; i++) {
        if (shares_memory(&iommu->intervals[i], memory, size)) return true;
    }
    return false;
}

// Walks down, because unmapping changes only what is at or above the interval at hand.
int iommu_forget_memory(struct iommu *iommu, const void *memory, size_t size) {
    for (unsigned i = iommu->count; i-- > 0;) {
        const struct interval *interval = &iommu->intervals[i];
        if (!shares_memory(interval, memory, size)) continue;
        uintptr_t start = (uintptr_t)interval->memory, from = (uintptr_t)memory, to = from + (size - 1);
        uint64_t skip = from > start ? from - start : 0;
        uint64_t length = interval->last - interval->first - skip + 1;
        if (length - 1 > to - start - skip) length = to - start - skip + 1;
        int64_t forgotten = iommu_unmap(iommu, interval->first + skip, length);
        if (forgotten < 0) return (int)forgotten;
    }
    return 0;
}

unsigned iommu_mappings(const struct iommu *iommu) { return iommu->count; }
