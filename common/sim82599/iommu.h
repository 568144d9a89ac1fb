// iommu.h: what IOVA means what memory, for the devices of one VFIO container.
//
// A sorted table of intervals. Adjacent pieces with adjacent memory and equal rights are one interval, so a guest
// that maps a gigabyte in 4 KiB steps costs little. The last interval hit is remembered: a driver's packets live in
// one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iommu;

enum { IOMMU_READ = 1, IOMMU_WRITE = 2 };  // what the device may do

struct iommu *iommu_create(void);
void iommu_destroy(struct iommu *iommu);

// Overlap with an existing mapping is -EEXIST, as VFIO type 1 says; zero size or wrap-around -EINVAL.
int iommu_map(struct iommu *iommu, uint64_t iova, uint64_t size, void *memory, int rights);
// Forgets whatever lies inside [iova, iova + size), splitting intervals that reach beyond. Returns the bytes
// forgotten; or -ENOMEM, and nothing is, because to split one needs memory.
int64_t iommu_unmap(struct iommu *iommu, uint64_t iova, uint64_t size);
// Maps, whatever was there before. -EINVAL as above; or -ENOMEM, and what was there still is.
int iommu_replace(struct iommu *iommu, uint64_t iova, uint64_t size, void *memory, int rights);

// The memory behind `iova`, NULL if the device may not do that there. *contiguous: how many bytes from there on are
// one piece of memory; the caller goes on with the next piece after that.
void *iommu_translate(struct iommu *iommu, uint64_t iova, int right, uint64_t *contiguous);
// The same for somebody who will be back soon: the whole piece around `iova`, if the device may do all of `rights`
// there.
void *iommu_piece(struct iommu *iommu, uint64_t iova, int rights, uint64_t *first, uint64_t *size);

// Is any of the process's memory [memory, memory + size) still mapped? For the check on munmap.
bool iommu_maps_memory(const struct iommu *iommu, const void *memory, size_t size);
int iommu_forget_memory(struct iommu *iommu, const void *memory, size_t size);
unsigned iommu_mappings(const struct iommu *iommu);
