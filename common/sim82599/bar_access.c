// bar_access.c: what an access to one of the port's BARs does, whatever its width.
//
// PCI Express moves double words with a bit per byte that says whether it counts. So a wide access is several double
// words in ascending order, and a narrow or crooked read is one of which only some bytes reach the program: the
// register's side effects happen all the same. A narrow write changes its bytes only, where a register keeps what is
// written; where bits mean deeds (interrupt masks and causes, reset), the other bytes do nothing.
#include "bar_access.h"

#include <stdio.h>
#include <string.h>

#include "ixgbe_regs.h"
#include "observe.h"
#include "sim.h"
#include "trace.h"

enum { REGISTERS = 0, IO_PORTS = 2, MSIX = 4, IO_ADDRESS = 0, IO_DATA = 4 };

// 7.3.1.3: each vector of the table begins masked. Whoever sends the messages plays the table; ours only remembers.
void bar_access_reset(struct bar_access *access) {
    access->io_address = 0;
    memset(access->msix, 0, SIM_BAR4_SIZE);
    for (unsigned vector = 0; vector < SIM_MSIX_VECTORS; vector++) access->msix[4 * vector + 3] = 1;
}

// Only a front can see how wide an access is. Linux's driver, at which no rule may complain, programs a flow director
// filter with one write to FDIRHASH and FDIRCMD.
static void judge_width(struct sim_device *device, const char *did, uint32_t offset, uint32_t length) {
    char name[32], text[96];
    if (length == 4 && offset % 4 == 0) return;
    if (length == 8 && offset == IXGBE_FDIRHASH) return;
    if (!sim_register_name(offset, name)) snprintf(name, sizeof name, "0x%x", (unsigned)(offset & ~3u));
    int end = snprintf(text, sizeof text, "access-width: %s %u byte%s at %s", did, (unsigned)length,
                       length == 1 ? "" : "s", name);
    if (offset % 4) snprintf(text + end, sizeof text - (size_t)end, "+%u", (unsigned)(offset % 4));
    observe_event(device, text);
}

// A piece of an access that lies inside one double word of the device, which knows nothing smaller or larger.
struct piece {
    uint32_t offset, skip, take;
};

static struct piece piece_at(uint32_t offset, uint32_t left) {
    uint32_t skip = offset % 4;
    return (struct piece){offset - skip, skip, 4 - skip < left ? 4 - skip : left};
}

static uint32_t read_double_word(const struct bar_access *access, unsigned bar, uint32_t offset) {
    if (bar == MSIX) return access->msix[offset / 4];
    if (bar == REGISTERS) return sim_register_read(access->device, offset);
    if (offset == IO_ADDRESS) return access->io_address;
    return offset == IO_DATA ? sim_register_read(access->device, access->io_address) : 0;
}

void bar_access_read(struct bar_access *access, unsigned bar, uint32_t offset, void *data, uint32_t length) {
    if (bar == REGISTERS) judge_width(access->device, "read", offset, length);
    for (uint32_t done = 0; done < length;) {
        struct piece piece = piece_at(offset + done, length - done);
        uint32_t value = read_double_word(access, bar, piece.offset) >> 8 * piece.skip;
        memcpy((char *)data + done, &value, piece.take);
        done += piece.take;
    }
}

static void write_register(struct sim_device *device, uint32_t offset, uint32_t mask, uint32_t value) {
    const struct register_row *row = register_at(offset);
    bool keeps = row && (row->access == REGISTER_RW || row->access == REGISTER_SC);
    if (mask != UINT32_MAX) value = (value & mask) | (keeps ? sim_peek(device, offset) & ~mask : 0);
    sim_register_write(device, offset, value);
}

static void write_double_word(struct bar_access *access, unsigned bar, uint32_t offset, uint32_t mask,
                              uint32_t value) {
    if (bar == REGISTERS) {
        write_register(access->device, offset, mask, value);
    } else if (bar == MSIX) {
        uint32_t *word = &access->msix[offset / 4];  // the pending bits are not to be written
        if (offset < 16 * SIM_MSIX_VECTORS) *word = (*word & ~mask) | (value & mask);
    } else if (offset == IO_ADDRESS) {
        access->io_address = ((access->io_address & ~mask) | (value & mask)) & (SIM_BAR0_SIZE - 4);
    } else if (offset == IO_DATA) {
        write_register(access->device, access->io_address, mask, value);
    }
}

void bar_access_write(struct bar_access *access, unsigned bar, uint32_t offset, const void *data, uint32_t length) {
    if (bar == REGISTERS) judge_width(access->device, "wrote", offset, length);
    for (uint32_t done = 0; done < length;) {
        struct piece piece = piece_at(offset + done, length - done);
        uint32_t value = 0, mask = 0;
        memcpy(&value, (const char *)data + done, piece.take);
        memset(&mask, 0xff, piece.take);
        write_double_word(access, bar, piece.offset, mask << 8 * piece.skip, value << 8 * piece.skip);
        done += piece.take;
    }
}
