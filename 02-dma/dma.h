// dma.h: memory that both sides can see.
//
// A piece of DMA memory has two addresses. The program uses a pointer, which the CPU's page tables translate. The
// device uses an IOVA, an I/O virtual address, which the IOMMU's page tables translate. Both lead to the same
// physical pages; neither side can use the other's address. So that nobody mixes them up, an IOVA here is a type of
// its own.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vfio.h"

typedef struct {
    uint64_t value;
} iova_t;

static inline iova_t iova_plus(iova_t base, uint64_t bytes) { return (iova_t){base.value + bytes}; }

// Both ends belong to the range. (An exclusive end could not express "up to the last byte of the address space".)
struct iova_range {
    uint64_t first, last;
};

struct dma_reservation;  // an IOVA range in use

// The IOVA space of one container: what the IOMMU can translate, and what of it is taken.
struct dma_space {
    const struct vfio_container *container;
    uint64_t page_sizes;        // bit n set: the IOMMU has pages of 2^n bytes; only shown: the CPU's page size counts
    struct iova_range *ranges;  // what may be mapped, ascending; the gaps are reserved, for MSI messages for example
    size_t range_count;
    struct dma_reservation *reservations;  // ascending list
    bool warned_about_small_pages;
};

struct dma_memory {
    void *virt;   // for the program
    iova_t iova;  // for the device
    size_t size;  // in bytes, whole pages
    size_t page_size;
};

// Every function returns 0 or a negative errno, and says on standard error what went wrong and what to do.

// Asks the container's IOMMU for its ranges and page sizes. At least one device must be open in the container, which
// must outlive the space.
int dma_space_open(struct dma_space *space, const struct vfio_container *container);
void dma_space_close(struct dma_space *space);  // all its memory must have been freed

// Zeroed memory of at least `size` bytes, contiguous in both address spaces, mapped for the devices of the container
// to read and write. Large requests get 2 MiB pages when the system has some free. On failure *memory is all zero.
int dma_alloc(struct dma_space *space, size_t size, struct dma_memory *memory);
// No device may still use the memory. Does nothing for memory that is all zero, so error paths need not look. If the
// IOMMU does not let go of it, says so, and keeps both pages and IOVA.
void dma_free(struct dma_space *space, struct dma_memory *memory);

// The bare mapping under dma_alloc: size, pointer and IOVA must be multiples of the page size. dma_map does not note
// the IOVA as taken, so dma_alloc may choose the same one, and fail. dma_unmap wants whole mappings (half of one is
// -EINVAL), and there may be none. Only these two say nothing when they fail, since being refused is what dmamap
// wants to see.
int dma_map(const struct dma_space *space, void *virt, iova_t iova, size_t size);
int dma_unmap(const struct dma_space *space, iova_t iova, size_t size);
