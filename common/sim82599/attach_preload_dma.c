// attach_preload_dma.c: a container's DMA mappings, as the kernel's type 1 IOMMU driver keeps them.
//
// The IOMMU itself (iommu.h) knows intervals and merges them. The kernel also remembers each mapping as it was made,
// because unmapping follows those: version 2 refuses to cut a mapping in two, and gives back only whole ones. The
// kernel pins the pages, which counts against the program's limit of locked memory and fails where there is no
// memory.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "iommu.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAPPINGS_AT_MOST = 65535 };  // the kernel module's default, dma_entry_limit
// 4 KiB, 2 MiB and 1 GiB, as Intel's IOMMU has them.
#define PAGE_SIZES UINT64_C(0x40201000)

// All of a 48-bit address space but the window in which a write is an interrupt message.
static const struct vfio_iova_range valid[] = {{0, 0xfedfffff}, {0xfef00000, UINT64_C(0xffffffffffff)}};

struct mapping {
    uint64_t iova, size;
    uintptr_t memory;
};

struct dma {
    struct iommu *iommu;
    bool version_2;
    struct mapping *mappings;  // by iova
    size_t count, space;
};

static uint64_t pinned_pages;  // of all containers, as mm->locked_vm is the process's

struct dma *dma_create(bool version_2) {
    struct dma *dma = calloc(1, sizeof *dma);
    if (dma) dma->iommu = iommu_create();
    if (dma && !dma->iommu) {
        free(dma);
        return NULL;
    }
    if (dma) dma->version_2 = version_2;
    return dma;
}

void dma_destroy(struct dma *dma) {
    if (!dma) return;
    for (size_t i = 0; i < dma->count; i++) pinned_pages -= dma->mappings[i].size / PAGE;
    iommu_destroy(dma->iommu);
    free(dma->mappings);
    free(dma);
}

struct iommu *dma_iommu(struct dma *dma) {
    return dma ? dma->iommu : NULL;
}

// The first mapping that ends behind `iova`.
static size_t find(const struct dma *dma, uint64_t iova) {
    size_t low = 0, high = dma->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (dma->mappings[middle].iova + dma->mappings[middle].size > iova)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int insert(struct dma *dma, size_t at, const struct mapping *mapping) {
    if (dma->count == dma->space) {
        size_t space = dma->space ? 2 * dma->space : 64;
        struct mapping *bigger = realloc(dma->mappings, space * sizeof *bigger);
        if (!bigger) return -ENOMEM;
        dma->mappings = bigger;
        dma->space = space;
    }
    memmove(dma->mappings + at + 1, dma->mappings + at, (dma->count - at) * sizeof *mapping);
    dma->mappings[at] = *mapping;
    dma->count++;
    return 0;
}

static bool range_is_valid(uint64_t first, uint64_t last) {
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        if (first >= valid[i].start && last <= valid[i].end) return true;
    return false;
}

// ---- Locked memory ----

static bool may_lock_all(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 && data[0].effective & 1u << CAP_IPC_LOCK;
}

// What the program has locked by itself, which the kernel counts in the same place.
static uint64_t mlocked_pages(void) {
    FILE *status = real.fopen("/proc/self/status", "re");
    if (!status) return 0;
    char line[128];
    unsigned long kilobytes = 0;
    while (fgets(line, sizeof line, status) && sscanf(line, "VmLck: %lu", &kilobytes) != 1) {
    }
    fclose(status);
    return kilobytes * 1024 / PAGE;
}

// An ordinary user's limit is usually too low for a driver, and raising it takes an administrator; so this machine's
// kernel applies it only where that is wanted.
static int check_limit(uint64_t pages) {
    struct rlimit limit;
    if (!getenv("SIM82599_MEMLOCK")) return 0;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || may_lock_all()) return 0;
    return pinned_pages + mlocked_pages() + pages > limit.rlim_cur / PAGE ? -ENOMEM : 0;
}

// Pinning finds out whether there is memory, with the rights the device wants, and brings it in.
static int pin(uintptr_t memory, uint64_t size, bool device_writes) {
#ifndef MADV_POPULATE_READ
    enum { MADV_POPULATE_READ = 22, MADV_POPULATE_WRITE = 23 };
#endif
    int advice = device_writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    if (madvise((void *)memory, size, advice) == 0) return 0;
    if (errno != EINVAL) return -EFAULT;
    // EINVAL is also what kernels before 5.14 say to any such advice; they get the weaker check.
    static char some_page[2 * PAGE];
    uintptr_t page = ((uintptr_t)some_page + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    if (madvise((void *)page, PAGE, advice) == 0) return -EFAULT;
    return is_mapped(memory, size) ? 0 : -EFAULT;
}

// ---- The ioctls ----

static long map(struct dma *dma, const struct vfio_iommu_type1_dma_map *request, dma_listener *listener,
                void *context) {
    uint64_t iova = request->iova, size = request->size, memory = request->vaddr;
    uint32_t rights = request->flags & (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
    if (!rights || !size || (size | iova | memory) & (PAGE - 1)) return -EINVAL;
    if (iova + size - 1 < iova || memory + size - 1 < memory) return -EINVAL;
    size_t at = find(dma, iova);
    if (at < dma->count && dma->mappings[at].iova <= iova + size - 1) return -EEXIST;
    if (dma->count >= MAPPINGS_AT_MOST) return -ENOSPC;
    if (!range_is_valid(iova, iova + size - 1)) return -EINVAL;
    int error = check_limit(size / PAGE);
    if (!error) error = pin((uintptr_t)memory, size, rights & VFIO_DMA_MAP_FLAG_WRITE);
    if (!error) error = insert(dma, at, &(struct mapping){iova, size, (uintptr_t)memory});
    if (error) return error;
    int direction =
        (rights & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0) | (rights & VFIO_DMA_MAP_FLAG_WRITE ? IOMMU_WRITE : 0);
    error = iommu_map(dma->iommu, iova, size, (void *)(uintptr_t)memory, direction);
    if (error) {
        memmove(dma->mappings + at, dma->mappings + at + 1, (--dma->count - at) * sizeof *dma->mappings);
        return error;
    }
    pinned_pages += size / PAGE;
    listener(context, iova, size, true);
    return 0;
}

static long map_dma(struct dma *dma, void *argument, dma_listener *listener, void *context) {
    struct vfio_iommu_type1_dma_map request;
    if (copy_in(&request, argument, sizeof request)) return -EFAULT;
    uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (request.argsz < sizeof request || request.flags & ~known) return -EINVAL;
    return map(dma, &request, listener, context);
}

// Takes away the whole mappings in [first, last] and counts their bytes. Version 1 also takes away one that begins
// inside and goes beyond.
static int remove_mappings(struct dma *dma, uint64_t first, uint64_t last, uint64_t *removed, dma_listener *listener,
                           void *context) {
    int64_t unmapped = 0;
    *removed = 0;
    size_t from = find(dma, first), to = from;
    if (from < dma->count && dma->mappings[from].iova < first) from = ++to;
    for (; to < dma->count && dma->mappings[to].iova <= last; to++) {
        const struct mapping *mapping = &dma->mappings[to];
        unmapped = iommu_unmap(dma->iommu, mapping->iova, mapping->size);
        if (unmapped < 0) break;
        pinned_pages -= mapping->size / PAGE;
        *removed += mapping->size;
        listener(context, mapping->iova, mapping->size, false);
    }
    memmove(dma->mappings + from, dma->mappings + to, (dma->count - to) * sizeof *dma->mappings);
    dma->count -= to - from;
    return unmapped < 0 ? (int)unmapped : 0;
}

static bool cuts_a_mapping(const struct dma *dma, uint64_t first, uint64_t last) {
    size_t at = find(dma, first);
    if (at < dma->count && dma->mappings[at].iova < first) return true;
    at = find(dma, last);
    return at < dma->count && dma->mappings[at].iova <= last &&
           dma->mappings[at].iova + dma->mappings[at].size - 1 != last;
}

static long unmap_dma(struct dma *dma, void *argument, dma_listener *listener, void *context) {
    struct vfio_iommu_type1_dma_unmap request;
    size_t size = offsetof(struct vfio_iommu_type1_dma_unmap, data);
    if (copy_in(&request, argument, size)) return -EFAULT;
    if (request.argsz < size || request.flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL) return -EINVAL;
    uint64_t first = request.iova, last = request.iova + request.size - 1;
    if (first & (PAGE - 1)) return -EINVAL;
    if (request.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
        if (request.iova || request.size) return -EINVAL;
        last = UINT64_MAX;
    } else if (!request.size || request.size & (PAGE - 1) || last < first) {
        return -EINVAL;
    }
    if (dma->version_2 && cuts_a_mapping(dma, first, last)) return -EINVAL;
    uint64_t removed;
    int error = remove_mappings(dma, first, last, &removed, listener, context);
    request.size = removed;
    return error ? error : copy_out(argument, &request, size);
}

// The capabilities follow the structure, each with the offset of the next.
struct capabilities {
    struct vfio_info_cap_header ranges;
    uint32_t range_count, reserved;
    struct vfio_iova_range valid[sizeof valid / sizeof *valid];
    struct vfio_iommu_type1_info_dma_avail available;
    uint32_t padding;
};

static long get_info(const struct dma *dma, void *argument) {
    struct {
        struct vfio_iommu_type1_info info;
        struct capabilities capabilities;
    } answer = {0};
    size_t least = offsetof(struct vfio_iommu_type1_info, iova_pgsizes) + sizeof answer.info.iova_pgsizes;
    size_t base = sizeof answer.info, full = base + offsetof(struct capabilities, padding);
    if (copy_in(&answer.info, argument, least)) return -EFAULT;
    if (answer.info.argsz < least) return -EINVAL;
    bool room_for_offset =
        answer.info.argsz >= offsetof(struct vfio_iommu_type1_info, cap_offset) + sizeof answer.info.cap_offset;
    bool room_for_all = answer.info.argsz >= full;
    answer.info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    answer.info.iova_pgsizes = PAGE_SIZES;
    answer.info.cap_offset = room_for_all ? (uint32_t)base : 0;
    if (!room_for_all) answer.info.argsz = (uint32_t)full;
    answer.capabilities.ranges =
        (struct vfio_info_cap_header){.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
                                      .version = 1,
                                      .next = (uint32_t)(base + offsetof(struct capabilities, available))};
    answer.capabilities.range_count = sizeof valid / sizeof *valid;
    memcpy(answer.capabilities.valid, valid, sizeof valid);
    answer.capabilities.available.header =
        (struct vfio_info_cap_header){.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1};
    answer.capabilities.available.avail = MAPPINGS_AT_MOST - (uint32_t)dma->count;
    size_t size = room_for_all      ? full
                  : room_for_offset ? offsetof(struct vfio_iommu_type1_info, cap_offset) + sizeof(uint32_t)
                                    : least;
    return copy_out(argument, &answer, size);
}

long dma_ioctl(struct dma *dma, unsigned request, void *argument, dma_listener *listener, void *context) {
    switch (request) {
    case VFIO_IOMMU_GET_INFO: return get_info(dma, argument);
    case VFIO_IOMMU_MAP_DMA: return map_dma(dma, argument, listener, context);
    case VFIO_IOMMU_UNMAP_DMA: return unmap_dma(dma, argument, listener, context);
    default: return -ENOTTY;
    }
}
