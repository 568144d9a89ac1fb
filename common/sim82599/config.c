// config.c: the PCI configuration space of an 82599ES (9.3, 9.4).
//
// A table says what is there after power-on and which bits can be written; everything else is zero. Base addresses
// need no further thought: a bit that cannot be written is how a base address register tells its size. That is also
// all there is to the capabilities, but for one bit: writing PCIe device control bit 15 resets the function.
#include "core.h"

enum {
    COMMAND = 0x04,
    STATUS = 0x06,
    MSI = 0x50,
    MSIX = 0x70,
    PCIE = 0xa0,
    PCIE_CONTROL = 0xa8,
    AER = 0x100,
    SERIAL = 0x140,
    COMMAND_BUS_MASTER = 1 << 2,
    STATUS_INTERRUPT = 1 << 3,
    STATUS_MASTER_ABORT = 1 << 13,
    PCIE_CONTROL_RESET = 1 << 15,
};

static const struct {
    uint32_t offset, value, writable, clears;  // clears: bits that a one written sets to zero
} words[] = {
    {0x00, IXGBE_DEVICE_ID << 16 | IXGBE_VENDOR_ID, 0, 0},
    {COMMAND, 0x00100000, 0x00000547, 0xf9000000},
    {0x08, IXGBE_CLASS_CODE << 8 | 0x01, 0, 0},
    {0x0c, 0x00000000, 0x000000ff, 0},
    {0x10, 0x0000000c, ~(uint32_t)(SIM_BAR0_SIZE - 1), 0},  // BAR 0: registers, 64 bits, prefetchable
    {0x14, 0x00000000, 0xffffffff, 0},
    {0x18, 0x00000001, ~(uint32_t)(SIM_BAR2_SIZE - 1), 0},  // BAR 2: I/O
    {0x20, 0x0000000c, ~(uint32_t)(SIM_BAR4_SIZE - 1), 0},  // BAR 4: MSI-X, 64 bits
    {0x24, 0x00000000, 0xffffffff, 0},
    {0x2c, IXGBE_SUBSYSTEM_ID << 16 | IXGBE_VENDOR_ID, 0, 0},
    {0x34, 0x00000040, 0, 0},
    {0x3c, 0x00000100, 0x000000ff, 0},  // INTA
    // power management
    {0x40, 0x48230001 | MSI << 8, 0, 0},
    {0x44, 0x00002000, 0x00000103, 0x00008000},
    // MSI: one message, 64-bit address, maskable
    {MSI, 0x01800005 | MSIX << 8, 0x00010000, 0},
    {MSI + 4, 0x00000000, 0xfffffffc, 0},
    {MSI + 8, 0x00000000, 0xffffffff, 0},
    {MSI + 12, 0x00000000, 0x0000ffff, 0},
    {MSI + 16, 0x00000000, 0x00000001, 0},
    // MSI-X: 64 vectors, table and pending bits in BAR 4
    {MSIX, (SIM_MSIX_VECTORS - 1) << 16 | 0x11 | PCIE << 8, 0xc0000000, 0},
    {MSIX + 4, 0x00000004, 0, 0},
    {MSIX + 8, SIM_BAR4_SIZE / 2 | 4, 0, 0},
    // PCIe endpoint, version 2: payloads of 512 bytes, function-level reset; 8 lanes at 5 GT/s
    {PCIE, 0x00020010, 0, 0},
    {PCIE + 0x04, 0x10008cc2, 0, 0},
    {PCIE_CONTROL, 0x00002810, 0x00007fff, 0x000f0000},
    {PCIE + 0x0c, 0x00004482, 0, 0},
    {PCIE + 0x10, 0x10820000, 0x000000c3, 0},
    {PCIE + 0x24, 0x0000001f, 0, 0},
    {PCIE + 0x28, 0x00000000, 0x0000001f, 0},
    {PCIE + 0x30, 0x00000002, 0x0000000f, 0},
    // advanced error reporting
    {AER, SERIAL << 20 | 1 << 16 | 0x0001, 0, 0},
    {AER + 0x04, 0x00000000, 0, 0x001ff030},
    {AER + 0x08, 0x00000000, 0x001ff030, 0},
    {AER + 0x0c, 0x00062030, 0x001ff030, 0},
    {AER + 0x10, 0x00000000, 0, 0x000031c1},
    {AER + 0x14, 0x00002000, 0x000031c1, 0},
    // serial number
    {SERIAL, 1 << 16 | 0x0003, 0, 0},
};

static void config_set(struct sim_device *device, uint32_t offset, uint32_t value) {
    memcpy(&device->config[offset], &value, 4);
}

// The serial number is the first port's address with ff ff in its middle, the way an EUI-64 is made of one.
void config_reset(struct sim_device *device) {
    memset(device->config, 0, sizeof device->config);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) config_set(device, words[i].offset, words[i].value);
    config_set(device, SERIAL + 4, 0xff825900 | device->port);
    config_set(device, SERIAL + 8, 0x90e2baff);
}

static void write_byte(struct sim_device *device, uint32_t offset, uint8_t value) {
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i].offset != (offset & ~3u)) continue;
        uint8_t writable = (uint8_t)(words[i].writable >> offset % 4 * 8);
        uint8_t clears = (uint8_t)(words[i].clears >> offset % 4 * 8);
        uint8_t old = device->config[offset] & (uint8_t) ~(value & clears);
        device->config[offset] = (uint8_t)((old & ~writable) | (value & writable));
    }
}

void sim_config_read(struct sim_device *device, uint32_t offset, void *data, uint32_t length) {
    memset(data, 0xff, length);
    if (fault_now(device, FAULT_UNPLUGGED) || offset > sizeof device->config) return;
    if (length > sizeof device->config - offset) length = (uint32_t)sizeof device->config - offset;
    memcpy(data, &device->config[offset], length);
}

bool sim_config_write(struct sim_device *device, uint32_t offset, const void *data, uint32_t length) {
    const uint8_t *bytes = data;
    if (fault_now(device, FAULT_UNPLUGGED) || offset > sizeof device->config) return false;
    if (length > sizeof device->config - offset) length = (uint32_t)sizeof device->config - offset;
    bool reset = false;
    for (uint32_t i = 0; i < length; i++) {
        write_byte(device, offset + i, bytes[i]);
        if (offset + i == PCIE_CONTROL + 1 && bytes[i] & PCIE_CONTROL_RESET >> 8) reset = true;
    }
    if (reset) sim_function_reset(device);
    return reset;
}

bool sim_bus_mastering(const struct sim_device *device) { return device->config[COMMAND] & COMMAND_BUS_MASTER; }

// The level of INTx, for whoever has to know whether it is still asserted.
void config_interrupt_status(struct sim_device *device, bool asserted) {
    device->config[STATUS] =
        (uint8_t)((device->config[STATUS] & ~STATUS_INTERRUPT) | (asserted ? STATUS_INTERRUPT : 0));
}

void config_master_abort(struct sim_device *device) { device->config[STATUS + 1] |= STATUS_MASTER_ABORT >> 8; }
