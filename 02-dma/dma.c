// dma.c: three steps from nothing to DMA memory: find a free stretch of IOVA space, get pages from the kernel, and
// ask VFIO to put both into the IOMMU's page tables. VFIO also pins the pages, since a device cannot wait for a page
// fault.

#define _GNU_SOURCE
#include "dma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)  // from linux/mman.h, which not every libc can include beside sys/mman.h
#endif

static const size_t huge_page_size = 2 * 1024 * 1024;

// ---- The IOVA space -----------------------------------------------------------------------------------------------

struct dma_reservation {
    struct dma_reservation *next;
    struct iova_range range;
};

// Kernels before 5.4 do not report ranges. What x86 IOMMUs have had in common since the beginning: 39 address bits,
// and the megabyte at 0xfee00000 where writes become interrupts.
static const struct iova_range ranges_of_old_kernels[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};

static int copy_ranges(struct dma_space *space, const void *ranges, size_t count) {
    space->ranges = malloc(count * sizeof *space->ranges);
    if (!space->ranges) return log_error(-ENOMEM, "the IOVA ranges");
    memcpy(space->ranges, ranges, count * sizeof *space->ranges);
    space->range_count = count;
    return 0;
}

// The information structure is followed by a chain of capabilities, each with the offset of the next one.
static const struct vfio_info_cap_header *find_capability(const struct vfio_iommu_type1_info *info, uint16_t id) {
    if (!(info->flags & VFIO_IOMMU_INFO_CAPS)) return NULL;
    for (uint32_t offset = info->cap_offset; offset;) {
        const struct vfio_info_cap_header *capability = (const void *)((const char *)info + offset);
        if (capability->id == id) return capability;
        offset = capability->next;
    }
    return NULL;
}

int dma_space_open(struct dma_space *space, const struct vfio_container *container) {
    *space = (struct dma_space){.container = container, .page_sizes = (uint64_t)sysconf(_SC_PAGESIZE)};

    // Asked twice: the first answer says how much room the whole one needs.
    struct vfio_iommu_type1_info first = {.argsz = sizeof first};
    if (ioctl(container->fd, VFIO_IOMMU_GET_INFO, &first) < 0)
        return log_error(-errno, "the container tells nothing about its IOMMU; is a device open in it?");
    size_t size = first.argsz > sizeof first ? first.argsz : sizeof first;
    struct vfio_iommu_type1_info *info = calloc(1, size);
    if (!info) return log_error(-ENOMEM, "the IOMMU's information");
    info->argsz = (uint32_t)size;

    int error = 0;
    if (ioctl(container->fd, VFIO_IOMMU_GET_INFO, info) < 0) {
        error = log_error(-errno, "the container tells nothing about its IOMMU");
    } else {
        if (info->flags & VFIO_IOMMU_INFO_PGSIZES) space->page_sizes = info->iova_pgsizes;
        const struct vfio_iommu_type1_info_cap_iova_range *list =
            (const void *)find_capability(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
        error = list ? copy_ranges(space, list->iova_ranges, list->nr_iovas)
                     : copy_ranges(space, ranges_of_old_kernels, 2);
    }
    free(info);
    return error;
}

void dma_space_close(struct dma_space *space) {
    free(space->ranges);
    while (space->reservations) {  // left over only where the IOMMU did not let go
        struct dma_reservation *next = space->reservations->next;
        free(space->reservations);
        space->reservations = next;
    }
}

// First fit: in each valid range, the lowest aligned address with `size` free bytes. IOVA 0 is left out: a descriptor
// that nobody filled in then points to memory that is not mapped, and the IOMMU reports it.
static int reserve(struct dma_space *space, size_t size, size_t alignment, iova_t *iova) {
    for (size_t i = 0; i < space->range_count; i++) {
        struct iova_range range = space->ranges[i];
        uint64_t start = range.first ? range.first : 1;
        struct dma_reservation **link = &space->reservations;
        for (;; link = &(*link)->next) {
            start = (start + alignment - 1) & ~(uint64_t)(alignment - 1);
            while (*link && (*link)->range.last < start) link = &(*link)->next;
            if (start < range.first || start > range.last || range.last - start < size - 1) break;
            if (*link && (*link)->range.first <= start + (size - 1)) {
                start = (*link)->range.last + 1;
                continue;
            }
            struct dma_reservation *taken = malloc(sizeof *taken);
            if (!taken) return -ENOMEM;
            *taken = (struct dma_reservation){*link, {start, start + (size - 1)}};
            *link = taken;
            *iova = (iova_t){start};
            return 0;
        }
    }
    return -ENOSPC;
}

static void unreserve(struct dma_space *space, iova_t iova) {
    for (struct dma_reservation **link = &space->reservations; *link; link = &(*link)->next)
        if ((*link)->range.first == iova.value) {
            struct dma_reservation *gone = *link;
            *link = gone->next;
            free(gone);
            return;
        }
}

// ---- Pages and mappings -------------------------------------------------------------------------------------------

int dma_map(const struct dma_space *space, void *virt, iova_t iova, size_t size) {
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof map,
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)virt,
        .iova = iova.value,
        .size = size,
    };
    return ioctl(space->container->fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

int dma_unmap(const struct dma_space *space, iova_t iova, size_t size) {
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = iova.value, .size = size};
    return ioctl(space->container->fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}

// Shared, not private: after a fork, copy-on-write would give one of the processes a copy, and the device would go on
// with the other.
static void *map_pages(size_t size, int flags) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | flags, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

// Huge pages are worth it only where they are mostly filled: a ring of 8 KiB is better off with two small ones.
static bool wants_huge_pages(size_t size) { return size >= huge_page_size / 2; }

static int get_pages(struct dma_space *space, size_t size, struct dma_memory *memory) {
    memory->page_size = huge_page_size;
    memory->size = (size + huge_page_size - 1) & ~(huge_page_size - 1);
    if (wants_huge_pages(size) && (memory->virt = map_pages(memory->size, MAP_HUGETLB | MAP_HUGE_2MB))) return 0;

    if (wants_huge_pages(size) && !space->warned_about_small_pages) {
        log_warning("no free 2 MiB pages, using small ones: more TLB misses in the CPU and in the IOMMU "
                    "(sudo scripts/setup-hugepages.sh)");
        space->warned_about_small_pages = true;
    }
    memory->page_size = (size_t)sysconf(_SC_PAGESIZE);
    memory->size = (size + memory->page_size - 1) & ~(memory->page_size - 1);
    memory->virt = map_pages(memory->size, 0);
    return memory->virt ? 0 : log_error(-ENOMEM, "no memory for %zu KiB of DMA memory", memory->size / 1024);
}

static int say_why_not_mapped(int error, size_t size) {
    struct rlimit limit;
    if (error == -ENOMEM && !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY)
        return log_error(error,
                         "%zu KiB of DMA memory would exceed the limit of locked memory, %llu KiB (ulimit -l); raise "
                         "'memlock' in /etc/security/limits.d and log in again, or run as root",
                         size / 1024, (unsigned long long)limit.rlim_cur / 1024);
    return log_error(error, "the IOMMU does not map %zu KiB; dmesg may say why", size / 1024);
}

int dma_alloc(struct dma_space *space, size_t size, struct dma_memory *memory) {
    *memory = (struct dma_memory){0};
    if (!size) return log_error(-EINVAL, "0 bytes of DMA memory");
    int error = get_pages(space, size, memory);
    if (error) return error;

    error = reserve(space, memory->size, memory->page_size, &memory->iova);
    if (error == -ENOSPC) {
        log_error(error, "no IOVA range is left for %zu KiB", memory->size / 1024);
    } else if (error) {
        log_error(error, "no memory to note an IOVA range in");
    } else if ((error = dma_map(space, memory->virt, memory->iova, memory->size))) {
        say_why_not_mapped(error, memory->size);
        unreserve(space, memory->iova);
    }
    if (error) {
        munmap(memory->virt, memory->size);
        *memory = (struct dma_memory){0};
    }
    return error;
}

// The IOMMU forgets the memory before the kernel gets it back. The other way round, the pages would stay pinned, and
// the device would go on writing where no program can look.
void dma_free(struct dma_space *space, struct dma_memory *memory) {
    if (!memory->virt) return;
    // When its last device is closed, a container loses its IOMMU and every mapping with it.
    bool mapped = space->container->iommu_type != 0;
    int error = mapped ? dma_unmap(space, memory->iova, memory->size) : 0;
    if (error) {
        log_error(error, "IOVA 0x%llx stays mapped; its memory is kept", (unsigned long long)memory->iova.value);
        return;
    }
    unreserve(space, memory->iova);
    munmap(memory->virt, memory->size);
    *memory = (struct dma_memory){0};
}
