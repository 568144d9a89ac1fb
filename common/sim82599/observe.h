// observe.h: everything the device does, told to whoever wants to know.
//
// The core reports; trace.c writes it down, lint.c judges it. Neither changes anything. Reports of single
// descriptors and frames cost time, so the core makes them only while sim_observed is true (stepped mode, or a trace
// is being written); reports of register accesses, faults and events are always made.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sim_device;

__attribute__((visibility("hidden"))) extern bool sim_observed;

enum sim_ring { SIM_RING_TX, SIM_RING_RX };

void observe_register_read(struct sim_device *device, uint32_t offset, uint32_t value);
// Before the write takes effect; the register still has its old value.
void observe_register_write(struct sim_device *device, uint32_t offset, uint32_t value);
void observe_reset(struct sim_device *device);
void observe_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
void observe_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
// `descriptor`: the 16 bytes as fetched, or as written back.
void observe_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                   const void *descriptor);
void observe_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                        const void *descriptor);
void observe_dma(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length);
void observe_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length);
void observe_frame(struct sim_device *device, bool sent, const void *frame, uint32_t length);
void observe_dropped(struct sim_device *device, bool sent, const char *why, uint32_t length);
void observe_interrupt(struct sim_device *device, unsigned vector, uint32_t causes);
void observe_event(struct sim_device *device, const char *what);  // "link up", "PAUSE", ...
// The driver has mapped or unmapped DMA memory, or has given back memory of its own that is still mapped.
void observe_map(struct sim_device *device, uint64_t iova, uint64_t size, bool mapped);
void observe_memory_lost(struct sim_device *device, const void *memory, uint64_t size);

// What trace and lint may look at without side effects.
uint32_t sim_peek(const struct sim_device *device, uint32_t offset);
uint64_t sim_now(const struct sim_device *device);
bool sim_every_access_seen(const struct sim_device *device);
uint32_t sim_longest_frame(const struct sim_device *device);  // that the port takes now, without its CRC
bool sim_dma_peek(struct sim_device *device, uint64_t iova, void *data, uint32_t length);  // false: not mapped

// "0x1028" -> "RXDCTL[0]"; NULL if there is no register. Shared by trace, lint and error messages.
const char *sim_register_name(uint32_t offset, char name[32]);

// trace.c: NULL or "" stops; "-" is standard error, "text" or "text:FILE". 0 or negative errno after saying what.
int trace_open(const char *where);
// lint.c: breaches are printed on standard error, once per rule and place; the count of all breaches since the start.
unsigned lint_breaches(void);
