// dma.c: every byte the device reads or writes in memory goes through here, and so through the IOMMU.
//
// Descriptors and packets mostly lie in a few large mappings. For each kind of access the piece of memory that the
// last one hit is remembered for the rest of the step, so a descriptor costs a subtraction and two comparisons. It is
// forgotten when the step ends, because between steps the driver may unmap.
//
// What is not mapped moves no byte and is reported. A buffer may lie in several pieces (a guest's pages); then it is
// copied piece by piece.
#include "core.h"
#include "iommu.h"

void dma_forget(struct sim_device *device) {
    for (int kind = 0; kind < DMA_KINDS; kind++) device->window[kind].size = 0;
}

// A bridge passes the device's requests on only while its bus mastering is enabled (9.3.5).
static bool passes(const struct sim_device *device) { return dma_allowed(device) && !fault_now(device, FAULT_IOMMU); }

static void *translate(struct sim_device *device, uint64_t iova, int right, uint64_t *contiguous) {
    return passes(device) ? iommu_translate(device->iommu, iova, right, contiguous) : NULL;
}

void *dma_map(struct sim_device *device, enum dma_kind kind, uint64_t iova, uint32_t length) {
    static const int rights[DMA_KINDS] = {
        [DMA_TX_RING] = IOMMU_READ | IOMMU_WRITE,
        [DMA_TX_DATA] = IOMMU_READ,
        [DMA_RX_RING] = IOMMU_READ | IOMMU_WRITE,
        [DMA_RX_DATA] = IOMMU_WRITE,
    };
    struct dma_window window;
    if (!passes(device)) return NULL;
    window.memory = iommu_piece(device->iommu, iova, rights[kind], &window.iova, &window.size);
    if (!window.memory || window.size - (iova - window.iova) < length) return NULL;
    device->window[kind] = window;
    return window.memory + (iova - window.iova);
}

// A ring is nearly always in one piece; then a batch looks for it once, and not for each descriptor.
void dma_find_ring(struct sim_device *device, enum dma_kind kind, struct ring *ring) {
    ring->memory = ring->size ? dma_at(device, kind, ring->base, ring->size * 16) : NULL;
}

// Compilers use x86-64's prefetchw only when told that it is there; where it is not, it does nothing.
static inline void ask_for_writing(const void *memory) {
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)memory));
#else
    __builtin_prefetch(memory, 1);
#endif
}

// First in a descriptor that the driver has written.
static inline uint64_t buffer_at(const struct ring *ring, uint32_t index) {
    uint64_t iova;
    memcpy(&iova, ring->memory + index * 16, sizeof iova);
    return iova;
}

// In threaded mode a ring and its buffers were last touched by the driver's processor and come out of its cache line
// by line; lines that are asked for together come in little more than the time of one. Four descriptors share a line.
void dma_ask_for_descriptors(const struct ring *ring, uint32_t from, uint32_t count, bool to_write) {
    if (!ring->memory) return;
    for (uint32_t at = from & ~3u, end = from + count; at < end; at += 4) {
        const char *line = ring->memory + (at < ring->size ? at : at - ring->size) * 16;
        if (to_write) {
            ask_for_writing(line);
        } else {
            __builtin_prefetch(line);
        }
    }
}

// This costs 17 instructions a descriptor. The buffers mostly lie in one piece of memory; others are not asked for.
void dma_ask_ahead(struct sim_device *device, const struct ring *of, uint16_t *asked) {
    const struct ring ring = *of;
    uint32_t index = *asked < ring.size ? *asked : ring.head, pending = ring_pending(&ring);
    uint32_t ahead = ring_distance(&ring, ring.head, index);
    if (ahead > pending) {  // the device has overtaken it, or the driver has moved the ring
        index = ring.head;
        ahead = 0;
    }
    if (pending > 2 * SIM_BATCH) pending = 2 * SIM_BATCH;
    if (!ring.memory || ahead >= pending) return;
    dma_ask_for_descriptors(&ring, index, pending - ahead, true);
    if (!dma_at(device, DMA_RX_DATA, buffer_at(&ring, index), 1)) return;
    const struct dma_window window = device->window[DMA_RX_DATA];
    for (; ahead < pending; ahead++) {
        uint64_t into = buffer_at(&ring, index) - window.iova;
        if (into < window.size) ask_for_writing(window.memory + into);
        index = ring_next(&ring, index);
    }
    *asked = (uint16_t)index;
}

// On PCI Express a read is answered, if only with a refusal, which the device notes. A write is posted: it gets no
// answer, and so the device never learns that it was refused.
static void astray(struct sim_device *device, bool write, uint64_t iova, uint32_t length) {
    device->totals.faults++;
    observe_dma_fault(device, write, iova, length);
    if (!write) config_master_abort(device);
}

void dma_ring_fault(struct sim_device *device, uint64_t iova) { astray(device, false, iova, 16); }

static bool copy(struct sim_device *device, uint64_t iova, void *data, uint32_t length, bool write) {
    char *bytes = data;
    for (uint32_t done = 0; done < length;) {
        uint64_t contiguous;
        char *memory = translate(device, iova + done, write ? IOMMU_WRITE : IOMMU_READ, &contiguous);
        if (!memory) {
            astray(device, write, iova + done, length - done);
            return false;
        }
        uint32_t piece = contiguous < length - done ? (uint32_t)contiguous : length - done;
        if (write) {
            memcpy(memory, bytes + done, piece);
        } else {
            memcpy(bytes + done, memory, piece);
        }
        done += piece;
    }
    return true;
}

bool dma_read(struct sim_device *device, uint64_t iova, void *data, uint32_t length) {
    if (sim_observed) observe_dma(device, false, iova, length);
    return copy(device, iova, data, length, false);
}

static bool all_mapped(struct sim_device *device, uint64_t iova, uint32_t length) {
    for (uint32_t done = 0; done < length;) {
        uint64_t contiguous;
        if (!translate(device, iova + done, IOMMU_WRITE, &contiguous)) return false;
        if (contiguous >= length - done) return true;
        done += (uint32_t)contiguous;
    }
    return true;
}

// All or nothing, so that a fault in the middle of a buffer moves no byte either.
void dma_write(struct sim_device *device, uint64_t iova, const void *data, uint32_t length) {
    if (!all_mapped(device, iova, length)) {
        astray(device, true, iova, length);
        return;
    }
    if (sim_observed) observe_dma(device, true, iova, length);
    copy(device, iova, (void *)(uintptr_t)data, length, true);
}

bool sim_dma_peek(struct sim_device *device, uint64_t iova, void *data, uint32_t length) {
    char *bytes = data;
    for (uint32_t done = 0; done < length;) {
        uint64_t contiguous;
        const char *memory = iommu_translate(device->iommu, iova + done, IOMMU_READ, &contiguous);
        if (!memory) return false;
        uint32_t piece = contiguous < length - done ? (uint32_t)contiguous : length - done;
        memcpy(bytes + done, memory, piece);
        done += piece;
    }
    return true;
}
