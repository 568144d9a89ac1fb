// faults.c: things that go wrong, on request.
//
// Each fault is a name and the register access from which on it holds. The parts of the device that can fail ask.
#include "core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[FAULTS] = {
    [FAULT_RESET_STUCK] = "reset-stuck",
    [FAULT_EEPROM_STUCK] = "eeprom-stuck",
    [FAULT_DMA_STUCK] = "dma-stuck",
    [FAULT_QUEUE_STUCK] = "queue-stuck",
    [FAULT_LINK_DOWN] = "link-down",
    [FAULT_LINK_FLAP] = "link-flap",
    [FAULT_LOST_INTERRUPTS] = "lost-interrupts",
    [FAULT_NO_RX_DESCRIPTORS] = "no-rx-descriptors",
    [FAULT_UNPLUGGED] = "unplugged",
    [FAULT_IOMMU] = "iommu",
};

bool fault_now(const struct sim_device *device, enum fault fault) {
    return device->faults[fault].armed && device->accesses >= device->faults[fault].from;
}

static int inject(struct sim_device *device, const char *text, size_t length) {
    const char *at = memchr(text, '@', length);
    size_t name = at ? (size_t)(at - text) : length;
    for (int fault = 0; fault < FAULTS; fault++) {
        if (strlen(names[fault]) != name || memcmp(names[fault], text, name) != 0) continue;
        char *end = NULL;
        uint64_t from = at ? strtoull(at + 1, &end, 10) : 0;
        if (at && (end == at + 1 || end != text + length)) break;
        device->faults[fault].armed = true;
        device->faults[fault].from = from;
        return 0;
    }
    fprintf(stderr, "sim82599: no such fault: %.*s. There are, each alone or with @N for the Nth register access:",
            (int)length, text);
    for (int fault = 0; fault < FAULTS; fault++) fprintf(stderr, " %s", names[fault]);
    fprintf(stderr, "\n");
    return -EINVAL;
}

int sim_inject(struct sim_device *device, const char *faults) {
    while (*faults) {
        size_t length = strcspn(faults, ",");
        int error = length ? inject(device, faults, length) : 0;
        if (error) return error;
        faults += length + (faults[length] == ',');
    }
    return 0;
}
