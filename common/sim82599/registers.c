// registers.c: the register map, unfolded from registers.def once.
//
// The table describes rows of registers; an access comes with an offset. So each of the 32768 words of the BAR gets
// an entry that says which row it belongs to, which bits software may write, and, for the older addresses of some
// registers, where their content really is.
#include "core.h"

#include <stdio.h>
#include <string.h>

struct row {
    const char *name;
    uint32_t offset, count, stride;
    enum access access;
    uint32_t reset;
};

static const struct row rows[] = {
#define REG(name, offset, count, stride, access, reset, section, description)                                        \
    {#name, offset, count, stride, ACCESS_##access, reset},
#include "registers.def"
};

static const struct {
    uint32_t offset, mask;
} writables[] = {
#define WRITABLE(register, mask) {IXGBE_##register, mask},
#include "registers.def"
};

static const struct {
    uint32_t offset, original, original_stride;
} aliases[] = {
#define ALIAS(register, original) {IXGBE_##register, IXGBE_##original, IXGBE_##original##_STRIDE},
#include "registers.def"
};

static const struct {
    uint32_t offset, original, first;
} continuations[] = {
#define CONTINUES(register, original, first) {IXGBE_##register, IXGBE_##original, first},
#include "registers.def"
};

enum { ROWS = sizeof rows / sizeof *rows, WORDS = SIM_BAR0_SIZE / 4 };
static struct map_entry map[WORDS];

static void map_row(unsigned number) {
    const struct row *row = &rows[number];
    uint32_t writable = row->access == ACCESS_RO || row->access == ACCESS_RC ? 0 : UINT32_MAX;
    for (unsigned i = 0; i < sizeof writables / sizeof *writables; i++) {
        if (writables[i].offset == row->offset) writable = writables[i].mask;
    }
    uint32_t home = row->offset, stride = row->stride;
    for (unsigned i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (aliases[i].offset != row->offset) continue;
        home = aliases[i].original;
        stride = aliases[i].original_stride;
    }
    for (uint32_t n = 0; n < row->count; n++) {
        map[(row->offset + n * row->stride) / 4] = (struct map_entry){
            .row = (uint16_t)(number + 1),
            .access = (uint8_t)row->access,
            .offset = home + n * stride,
            .writable = writable,
        };
    }
}

struct map_entry *map_at(uint32_t offset) {
    if (!map[0].row) {
        for (unsigned i = 0; i < ROWS; i++) map_row(i);
    }
    return &map[offset / 4];
}

void registers_reset(struct sim_device *device) {
    for (uint32_t offset = 0; offset < SIM_BAR0_SIZE; offset += 4) {
        unsigned row = map_at(offset)->row;
        reg_set(device, offset, row ? rows[row - 1].reset : 0);
    }
}

static const struct row *row_of(uint32_t offset) {
    unsigned row = offset < SIM_BAR0_SIZE ? map_at(offset & ~3u)->row : 0;
    return row ? &rows[row - 1] : NULL;
}

// An older address goes by its register's name, and RXDCTL_HIGH[0] is RXDCTL[64].
const char *sim_register_name(uint32_t offset, char name[32]) {
    if (!row_of(offset)) return NULL;
    const struct row *row = row_of(map_at(offset & ~3u)->offset);
    uint32_t index = row->stride ? (map_at(offset & ~3u)->offset - row->offset) / row->stride : 0;
    bool one = row->count == 1;
    for (unsigned i = 0; i < sizeof continuations / sizeof *continuations; i++) {
        if (continuations[i].offset != row->offset) continue;
        index += continuations[i].first;
        row = row_of(continuations[i].original);
        one = false;
        break;
    }
    if (one) {
        snprintf(name, 32, "%s", row->name);
    } else {
        snprintf(name, 32, "%s[%u]", row->name, index);
    }
    return name;
}
