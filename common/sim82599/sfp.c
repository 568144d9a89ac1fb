// sfp.c: the SFP+ module in the cage, as its two wires tell.
//
// Behind the wires sit two memories of 256 bytes: what the module is, at address 0xa0, and what it measures, at 0xa2
// (SFF-8472). Software plays the bus itself, a bit at a time, through I2CCTL: data changes while the clock is low; a
// change while it is high is a start or a stop. After eight bits the receiver answers by pulling data down.
#include "core.h"

enum { IDLE, ADDRESS, OFFSET, WRITE, READ };

// A 10GBASE-SR module: what a driver, and `ethtool -m`, look at. Lengths in the units of SFF-8472.
static void fill_identity(uint8_t page[256]) {
    page[0] = 3;     // SFP
    page[1] = 4;     // described by this page alone
    page[2] = 7;     // LC connector
    page[3] = 0x10;  // 10GBASE-SR
    page[11] = 6;    // 64B/66B
    page[12] = 103;  // 10.3 Gbit/s
    page[16] = 8;    // 80 m of 50 um fibre,
    page[17] = 2;    // 20 m of 62.5 um
    memcpy(&page[20], "Soft Optics     ", 16);
    memcpy(&page[37], "\x00\x1b\x21", 3);  // the maker whose modules the drivers take without asking
    memcpy(&page[40], "SOFT-10G-SR     ", 16);
    memcpy(&page[56], "1   ", 4);
    page[60] = 850 >> 8;  // nm
    page[61] = 850 & 0xff;
    page[65] = 0x1a;  // LOS, TX fault, TX disable
    memcpy(&page[68], "SIM82599        ", 16);
    memcpy(&page[84], "260101  ", 8);
    page[92] = 0x68;  // it measures, calibrated, average power
    page[94] = 5;     // SFF-8472 revision 11
    for (int i = 0; i < 63; i++) page[63] = (uint8_t)(page[63] + page[i]);
    for (int i = 64; i < 95; i++) page[95] = (uint8_t)(page[95] + page[i]);
}

static void fill_diagnostics(uint8_t page[256]) {
    static const uint16_t words[][2] = {
        // alarm and warning thresholds: high, low, high, low
        {0, 78 << 8},
        {2, 0xf300},
        {4, 73 << 8},
        {6, 0xf800},  // degrees C / 256
        {8, 37000},
        {10, 29000},
        {12, 36000},
        {14, 30000},  // V / 10000
        {16, 6000},
        {18, 1000},
        {20, 5500},
        {22, 1500},  // bias, 2 uA
        {24, 10000},
        {26, 1000},
        {28, 7943},
        {30, 1259},  // sent, 0.1 uW
        {32, 15849},
        {34, 100},
        {36, 10000},
        {38, 158},  // received
        // and what it is now
        {96, 40 << 8},
        {98, 33000},
        {100, 3500},
        {102, 5623},
        {104, 5012},
    };
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        page[words[i][0]] = (uint8_t)(words[i][1] >> 8);
        page[words[i][0] + 1] = (uint8_t)words[i][1];
    }
    for (int i = 0; i < 95; i++) page[95] = (uint8_t)(page[95] + page[i]);
}

static uint8_t module_byte(uint8_t bus_address, uint8_t offset) {
    uint8_t page[256] = {0};
    if (bus_address & 2) {
        fill_diagnostics(page);
    } else {
        fill_identity(page);
    }
    return page[offset];
}

// Bits 0 to 7 of a byte, then bit 8, the answer.
static void clock_rises(struct sim_device *device, bool data) {
    if (device->i2c.mode == IDLE) return;
    if (device->i2c.bits < 8) {
        device->i2c.shift = (uint8_t)(device->i2c.shift << 1 | data);
    } else if (device->i2c.mode == READ && !device->i2c.answering && data) {
        device->i2c.mode = IDLE;  // software has read enough
    }
    device->i2c.bits++;
}

static void byte_received(struct sim_device *device) {
    uint8_t byte = device->i2c.shift;
    switch (device->i2c.mode) {
    case ADDRESS:
        device->i2c.device = byte;
        device->i2c.mode = (byte & 0xfc) != 0xa0 ? IDLE : byte & 1 ? READ : OFFSET;
        device->i2c.pull = device->i2c.mode != IDLE;
        break;
    case OFFSET:
        device->i2c.offset = byte;
        device->i2c.mode = WRITE;
        device->i2c.pull = true;
        break;
    case WRITE: device->i2c.pull = true; break;  // answered, but nothing in there can be changed
    default: device->i2c.pull = false; break;
    }
    device->i2c.answering = true;
}

static void clock_falls(struct sim_device *device) {
    if (device->i2c.mode == IDLE) return;
    bool sending = device->i2c.mode == READ && !device->i2c.answering;
    if (device->i2c.bits == 8 && !sending) {
        byte_received(device);
        return;
    }
    if (device->i2c.bits == 8) {
        device->i2c.pull = false;  // software answers
        return;
    }
    if (device->i2c.bits == 9) {
        if (sending) device->i2c.offset++;
        device->i2c.bits = 0;
        device->i2c.answering = false;
        device->i2c.pull = false;
    }
    if (device->i2c.mode == READ) {
        device->i2c.pull = !(module_byte(device->i2c.device, device->i2c.offset) >> (7 - device->i2c.bits) & 1);
    }
}

void i2cctl_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    bool clock = value & IXGBE_I2CCTL_CLK_OUT, data = value & IXGBE_I2CCTL_DATA_OUT;
    if (clock && device->i2c.clock && data != device->i2c.data) {
        device->i2c.mode = data ? IDLE : ADDRESS;  // stop, start
        device->i2c.bits = 0;
        device->i2c.pull = device->i2c.answering = false;
    } else if (clock && !device->i2c.clock) {
        clock_rises(device, data);
    } else if (!clock && device->i2c.clock) {
        clock_falls(device);
    }
    device->i2c.clock = clock;
    device->i2c.data = data;
    reg_bits(device, offset, IXGBE_I2CCTL_CLK_IN, clock);
    reg_bits(device, offset, IXGBE_I2CCTL_DATA_IN, data && !device->i2c.pull);
}
