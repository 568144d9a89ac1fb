// observe.c: passes on what the core reports, first to the trace and then to lint.
//
// In this order a complaint stands right below the access it is about.
#include "observe.h"

#include "lint.h"
#include "trace.h"

bool sim_observed;

void observe_register_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    trace_register_read(device, offset, value);
    lint_register_read(device, offset, value);
}

void observe_register_write(struct sim_device *device, uint32_t offset, uint32_t value) {
    trace_register_write(device, offset, value);
    lint_register_write(device, offset, value);
}

void observe_reset(struct sim_device *device) {
    trace_reset(device);
    lint_reset(device);
}

void observe_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned queue) {
    trace_queue_enabled(device, ring, queue);
    lint_queue_enabled(device, ring, queue);
}

void observe_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned queue) {
    trace_queue_disabled(device, ring, queue);
    lint_queue_disabled(device, ring, queue);
}

void observe_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                   const void *descriptor) {
    trace_fetch(device, ring, queue, index, descriptor);
    lint_fetch(device, ring, queue, index, descriptor);
}

void observe_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                        const void *descriptor) {
    trace_write_back(device, ring, queue, index, descriptor);
    lint_write_back(device, ring, queue, index);
}

void observe_dma(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length) {
    trace_dma(device, device_writes, iova, length);
}

void observe_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length) {
    trace_dma_fault(device, device_writes, iova, length);
    lint_dma_fault(device, device_writes, iova, length);
}

void observe_frame(struct sim_device *device, bool sent, const void *frame, uint32_t length) {
    trace_frame(device, sent, frame, length);
}

void observe_dropped(struct sim_device *device, bool sent, const char *why, uint32_t length) {
    trace_dropped(device, sent, why, length);
    if (!sent) lint_dropped(device);
}

void observe_interrupt(struct sim_device *device, unsigned vector, uint32_t causes) {
    trace_interrupt(device, vector, causes);
}

void observe_event(struct sim_device *device, const char *what) {
    trace_event(device, what);
    lint_event(device, what);
}

void observe_map(struct sim_device *device, uint64_t iova, uint64_t size, bool mapped) {
    trace_map(device, iova, size, mapped);
    if (!mapped) lint_unmap(device, iova, size);
}

void observe_memory_lost(struct sim_device *device, const void *memory, uint64_t size) {
    trace_memory_lost(device, memory, size);
    lint_memory_lost(device, memory, size);
}
