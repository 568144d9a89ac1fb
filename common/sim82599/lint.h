// lint.h: judges what the driver does by the rules of lint.def.
#pragma once

#include "observe.h"

void lint_register_read(struct sim_device *device, uint32_t offset, uint32_t value);
void lint_register_write(struct sim_device *device, uint32_t offset, uint32_t value);
void lint_reset(struct sim_device *device);
void lint_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
void lint_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
void lint_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                const void *descriptor);
void lint_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index);
void lint_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length);
void lint_dropped(struct sim_device *device);
void lint_unmap(struct sim_device *device, uint64_t iova, uint64_t size);
void lint_memory_lost(struct sim_device *device, const void *memory, uint64_t size);

// An event that reads "NAME: what was done", NAME being a rule's, is a breach that somebody else has found: the
// fronts see the width of an access and the eventfd of a vector, and lint does not.
void lint_event(struct sim_device *device, const char *what);
