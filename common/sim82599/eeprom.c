// eeprom.c: what is in the EEPROM, and how software reads it.
//
// The EEPROM gives the device its address, and drivers much of what they want to know about the card. It is 8192
// words of 16 bits: 64 words whose places are fixed (6.2), some of which point to sections further up. A section
// starts with its length. The words up to 0x3f, with all sections that the words 0x03 to 0x0e point to, add up to
// 0xbaba (6.2.1).
//
// Software reads it one word at a time through EERD, or drives the four wires of the SPI bus itself through EEC.
#include "core.h"

enum {
    CORE0 = 0x40,  // station address, loaded into RAL[0] and RAH[0]
    PBA = 0x48,    // part number, as text
    FIRMWARE = 0x60,
    PATCH = 0x70,
    SFP_LIST = 0x80,  // what to write where for which kind of SFP+ module
    SFP_SEQUENCE = 0xa0,
    WORDS = 8192,
};

static const char part_number[] = "082599-000";

static const struct {
    uint16_t word, value;
} contents[] = {
    {0x00, 0x2840},  // control words (6.3.1)
    {0x09, CORE0},
    {0x0f, FIRMWARE},
    {0x15, 0xfafa},  // the part number is text, in a section
    {0x16, PBA},
    {0x2b, SFP_LIST},
    {0x2c, 0x0000},  // device capabilities: none of Wake on LAN, FCoE, unqualified modules
    {0x2d, 0x0001},  // version of these contents
    {0x2e, 0x8000},
    {CORE0, 5},
    {CORE0 + 4, 0},
    {CORE0 + 5, 0},
    // Firmware: no management; drivers refuse SFI cards whose patch is older than version 6.
    {FIRMWARE, 4},
    {FIRMWARE + 4, PATCH},
    {PATCH, 7},
    {PATCH + 7, 6},
    // Kinds of module (copper cable, optical; for either port), and where their values for CORECTL are.
    {SFP_LIST, 9},
    {SFP_LIST + 1, 3},
    {SFP_LIST + 2, SFP_SEQUENCE},
    {SFP_LIST + 3, 4},
    {SFP_LIST + 4, SFP_SEQUENCE},
    {SFP_LIST + 5, 5},
    {SFP_LIST + 6, SFP_SEQUENCE},
    {SFP_LIST + 7, 6},
    {SFP_LIST + 8, SFP_SEQUENCE},
    {SFP_SEQUENCE, 2},
    {SFP_SEQUENCE + 1, 0x0001},
};

static uint16_t checksum(const uint16_t *words) {
    uint16_t sum = 0;
    for (unsigned i = 0; i < 0x3f; i++) sum = (uint16_t)(sum + words[i]);
    for (unsigned i = 0x03; i < 0x0f; i++) {
        if (words[i] == 0 || words[i] == 0xffff) continue;
        for (unsigned j = 1; j <= words[words[i]]; j++) sum = (uint16_t)(sum + words[words[i] + j]);
    }
    return (uint16_t)(0xbaba - sum);
}

void eeprom_fill(struct sim_device *device) {
    uint16_t *words = device->eeprom;
    memset(words, 0xff, sizeof device->eeprom);
    for (unsigned i = 0; i < sizeof contents / sizeof *contents; i++) words[contents[i].word] = contents[i].value;

    const uint8_t mac[6] = {0x90, 0xe2, 0xba, 0x82, 0x59, (uint8_t)device->port};
    memcpy(&words[CORE0 + 1], mac, sizeof mac);

    // Two characters a word, the first in the upper half; the length counts itself.
    words[PBA] = sizeof part_number / 2 + 1;
    for (unsigned i = 0; i < sizeof part_number / 2; i++) {
        words[PBA + 1 + i] = (uint16_t)(part_number[2 * i] << 8 | part_number[2 * i + 1]);
    }
    words[0x3f] = checksum(words);
}

void eeprom_loaded(struct sim_device *device) {
    const uint16_t *mac = &device->eeprom[CORE0 + 1];
    reg_set(device, IXGBE_RAL, mac[0] | (uint32_t)mac[1] << 16);
    reg_set(device, IXGBE_RAH, mac[2] | IXGBE_RAH_AV);
}

// 8.2.3.2.2. The word is there at once, unless the EEPROM is stuck.
void eerd_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    if (!(value & IXGBE_EERD_START) || fault_now(device, FAULT_EEPROM_STUCK)) return;
    uint32_t word = field(value, IXGBE_EERD_ADDR);
    uint32_t data = word < WORDS ? device->eeprom[word] : 0xffff;
    reg_set(device, offset, data << IXGBE_EERD_DATA_SHIFT | (value & IXGBE_EERD_ADDR) | IXGBE_EERD_DONE);
}

// The EEPROM on its SPI bus: a command, a 16-bit byte address, and data for as long as the clock runs.
enum { SPI_WRITE = 2, SPI_READ = 3, SPI_WRITE_DISABLE = 4, SPI_STATUS = 5, SPI_WRITE_ENABLE = 6 };

static uint8_t *spi_byte(struct sim_device *device) {
    return (uint8_t *)device->eeprom + device->spi.address % sizeof device->eeprom;
}

static void spi_bit(struct sim_device *device, bool in) {
    device->spi.shift = device->spi.shift << 1 | in;
    unsigned bits = ++device->spi.bits;
    if (bits == 8) {
        device->spi.command = (uint8_t)device->spi.shift;
        if (device->spi.command == SPI_WRITE_ENABLE) device->spi.write_enabled = true;
        if (device->spi.command == SPI_WRITE_DISABLE) device->spi.write_enabled = false;
    } else if (bits == 24) {
        device->spi.address = (uint16_t)device->spi.shift;
    } else if (bits > 24 && bits % 8 == 0) {
        if (device->spi.command == SPI_WRITE && device->spi.write_enabled) {
            *spi_byte(device) = (uint8_t)device->spi.shift;
        }
        device->spi.address++;
    }
}

// What the EEPROM shows before the clock's next rise. Its status is all zero: it is never busy.
static bool spi_out(struct sim_device *device) {
    if (device->spi.command != SPI_READ || device->spi.bits < 24) return false;
    return *spi_byte(device) >> (7 - device->spi.bits % 8) & 1;
}

void eec_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    bool selected = value & IXGBE_EEC_EE_CS, clock = value & IXGBE_EEC_EE_SK;
    if (!selected) {
        if (device->spi.command == SPI_WRITE && device->spi.bits > 24) device->spi.write_enabled = false;
        device->spi.bits = 0;
        device->spi.command = 0;
    } else if (clock && !device->spi.clock) {
        spi_bit(device, value & IXGBE_EEC_EE_DI);
    } else if (!clock && device->spi.clock) {
        device->spi.out = spi_out(device);
    }
    device->spi.clock = clock;
    reg_bits(device, offset, IXGBE_EEC_EE_DO, device->spi.out);
    reg_bits(device, offset, IXGBE_EEC_EE_GNT, value & IXGBE_EEC_EE_REQ);
}
