// trace.h: the written record of what the device does, and the two things lint borrows from it: lines of text made
// without libc, and the register table by address.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "observe.h"

void trace_register_read(struct sim_device *device, uint32_t offset, uint32_t value);
void trace_register_write(struct sim_device *device, uint32_t offset, uint32_t value);
void trace_reset(struct sim_device *device);
void trace_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
void trace_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned queue);
void trace_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                 const void *descriptor);
void trace_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                      const void *descriptor);
void trace_dma(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length);
void trace_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length);
void trace_frame(struct sim_device *device, bool sent, const void *frame, uint32_t length);
void trace_dropped(struct sim_device *device, bool sent, const char *why, uint32_t length);
void trace_interrupt(struct sim_device *device, unsigned vector, uint32_t causes);
void trace_event(struct sim_device *device, const char *what);
void trace_map(struct sim_device *device, uint64_t iova, uint64_t size, bool mapped);
void trace_memory_lost(struct sim_device *device, const void *memory, uint64_t size);

// What repeats is counted and not written; this writes the count, before something else goes to the same place.
void trace_flush(void);

// Text made in a signal handler: no malloc, no stdio, one write(2) a line.
struct text {
    char bytes[640];
    unsigned length;
};

// Appends. Directives: %s text; %u unsigned decimal; %x uint32_t and %q uint64_t as 0x and what digits it needs;
// %r the name of the register at a uint32_t offset; %b a byte as two hexadecimal digits. What does not fit is cut
// off.
void text_format(struct text *line, const char *format, ...);
void text_append(struct text *line, const char *format, __builtin_va_list arguments);
void text_pad(struct text *line, unsigned column);
// Ends the line and writes it. 0 or negative errno.
int text_write(struct text *line, int fd);

enum register_access {
    REGISTER_RW,
    REGISTER_RO,
    REGISTER_WO,
    REGISTER_RC,
    REGISTER_W1C,
    REGISTER_W1S,
    REGISTER_SC,
    REGISTER_SEM
};

struct register_row {
    const char *name;
    uint32_t offset, count, stride;
    enum register_access access;
};

// The row of registers.def with a register at `offset`; NULL if there is none.
const struct register_row *register_at(uint32_t offset);
