// bar_access.h: from an access to a port's memory or I/O space to the device's registers, for both fronts.
#pragma once

#include <stdint.h>

struct sim_device;

struct bar_access {
    struct sim_device *device;
    uint32_t *msix;       // what is behind BAR 4, SIM_BAR4_SIZE bytes
    uint32_t io_address;  // the register that the second double word of BAR 2 is (3.6.1)
};

// With a reset that the front is asked for; one through configuration space leaves these as they are.
void bar_access_reset(struct bar_access *access);

// Any length and alignment inside BAR 0, 2 or 4; little-endian, as the processor's.
void bar_access_read(struct bar_access *access, unsigned bar, uint32_t offset, void *data, uint32_t length);
void bar_access_write(struct bar_access *access, unsigned bar, uint32_t offset, const void *data, uint32_t length);
