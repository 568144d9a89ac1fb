// test_registers.c: is registers.def a register map? Its rows are typed by hand and everything else is built on them,
// so this looks for what a slip of the hand makes: two rows at one address, fields that overlap, an alias that
// differs from its original. What no rule can find, a wrong number, is compared with numbers written down a second
// time here.
#include "ixgbe_regs.h"
#include "test.h"

#include <stdint.h>

enum access { RW, RO, WO, RC, W1C, W1S, SC, SEM };

enum {
#define REG(name, offset, count, stride, access, reset, section, description) ROW_##name,
#include "registers.def"
    ROWS
};

static const struct row {
    const char *name;
    uint32_t offset, count, stride;
    enum access access;
    uint32_t reset;
    const char *section, *description;
} rows[ROWS] = {
#define REG(name, offset, count, stride, access, reset, section, description)                                        \
    {#name, offset, count, stride, access, reset, section, description},
#include "registers.def"
};

static const struct {
    unsigned row, shift, width;
    const char *name;
} fields[] = {
#define FIELD(register, name, shift, width) {ROW_##register, shift, width, #name},
#include "registers.def"
};

static const struct {
    unsigned row;
    uint32_t mask;
} writables[] = {
#define WRITABLE(register, mask) {ROW_##register, mask},
#include "registers.def"
};

// An alias shows its original from register 0 on.
static const struct {
    unsigned row, original, first;
    int alias;
} kin[] = {
#define ALIAS(register, original)            {ROW_##register, ROW_##original, 0, 1},
#define CONTINUES(register, original, first) {ROW_##register, ROW_##original, first, 0},
#include "registers.def"
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

// CHECK, and whose row it was.
#define CHECK_ROW(row, condition)                                                                                    \
    do {                                                                                                             \
        char text_[256];                                                                                             \
        snprintf(text_, sizeof text_, "%s at 0x%05x: %s", (row)->name, (unsigned)(row)->offset, #condition);         \
        test_check_((condition), __FILE__, __LINE__, text_);                                                         \
    } while (0)

static uint32_t writable_bits(unsigned row) {
    for (unsigned i = 0; i < LENGTH(writables); i++) {
        if (writables[i].row == row) return writables[i].mask;
    }
    return rows[row].access == RO || rows[row].access == RC ? 0 : UINT32_MAX;
}

static void test_rows(void) {
    for (unsigned i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        CHECK_ROW(row, row->offset % 4 == 0 && row->stride % 4 == 0);
        CHECK_ROW(row, row->count == 1 ? row->stride == 0 : row->count > 1 && row->stride >= 4);
        CHECK_ROW(row, row->offset + (row->count - 1) * row->stride + 4 <= IXGBE_BAR0_SIZE);
        CHECK_ROW(row, strncmp(row->section, "8.", 2) == 0 || strcmp(row->section, "-") == 0);
        CHECK_ROW(row, strlen(row->description) > 0);
    }
}

static void test_no_two_rows_share_an_address(void) {
    static const struct row *owner[IXGBE_BAR0_SIZE / 4];
    for (unsigned i = 0; i < ROWS; i++) {
        for (uint32_t n = 0; n < rows[i].count; n++) {
            uint32_t word = (rows[i].offset + n * rows[i].stride) / 4;
            if (word >= LENGTH(owner)) continue;  // test_rows has complained
            char text[128];
            snprintf(text, sizeof text, "%s[%u] and %s are both at 0x%05x", rows[i].name, (unsigned)n,
                     owner[word] ? owner[word]->name : "no other row", (unsigned)word * 4);
            test_check_(!owner[word], __FILE__, __LINE__, text);
            owner[word] = &rows[i];
        }
    }
}

static void test_fields(void) {
    static uint32_t taken[ROWS];
    for (unsigned i = 0; i < LENGTH(fields); i++) {
        char text[128];
        snprintf(text, sizeof text, "%s.%s: shift %u, width %u", rows[fields[i].row].name, fields[i].name,
                 fields[i].shift, fields[i].width);
        int fits = fields[i].width >= 1 && fields[i].shift + fields[i].width <= 32;
        test_check_(fits, __FILE__, __LINE__, text);
        if (!fits) continue;
        uint32_t mask = (UINT32_MAX >> (32 - fields[i].width)) << fields[i].shift;
        test_check_(!(taken[fields[i].row] & mask), __FILE__, __LINE__, text);
        taken[fields[i].row] |= mask;
    }
}

static void test_writable_bits_are_given_once_and_where_they_mean_something(void) {
    static unsigned times[ROWS];
    for (unsigned i = 0; i < LENGTH(writables); i++) {
        const struct row *row = &rows[writables[i].row];
        CHECK_ROW(row, ++times[writables[i].row] == 1);
        CHECK_ROW(row, row->access != RO && row->access != RC && row->access != WO);
    }
}

static void test_aliases_and_continuations_are_like_their_originals(void) {
    for (unsigned i = 0; i < LENGTH(kin); i++) {
        const struct row *row = &rows[kin[i].row], *original = &rows[kin[i].original];
        CHECK_ROW(row, row->access == original->access);
        CHECK_ROW(row, row->reset == original->reset);
        CHECK_ROW(row, writable_bits(kin[i].row) == writable_bits(kin[i].original));
        if (kin[i].alias) CHECK_ROW(row, row->count <= original->count);
        for (unsigned other = 0; other < LENGTH(kin); other++) {  // else its content would be two steps away
            CHECK_ROW(row, kin[other].row != kin[i].original);
        }
    }
}

static void test_queue_addresses(void) {
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDBAL, 0), 0x01000);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDBAL, 63), 0x01fc0);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDBAL, 64), 0x0d000);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDBAL, 127), 0x0dfc0);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDT, 0), 0x01018);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RDT, 127), 0x0dfd8);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RXDCTL, 63), 0x01fe8);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_RXDCTL, 64), 0x0d028);
    CHECK_EQ(ixgbe_rx_queue_reg(IXGBE_SRRCTL, 64), 0x0d014);
    CHECK_EQ(ixgbe_tx_queue_reg(IXGBE_TDT, 0), 0x06018);
    CHECK_EQ(ixgbe_tx_queue_reg(IXGBE_TDT, 63), 0x06fd8);
    CHECK_EQ(ixgbe_tx_queue_reg(IXGBE_TDT, 64), 0x07018);
    CHECK_EQ(ixgbe_tx_queue_reg(IXGBE_TDT, 127), 0x07fd8);
    CHECK_EQ(ixgbe_tx_queue_reg(IXGBE_TXDCTL, 127), 0x07fe8);
    CHECK_EQ(ixgbe_eitr_reg(0), 0x00820);
    CHECK_EQ(ixgbe_eitr_reg(23), 0x0087c);
    CHECK_EQ(ixgbe_eitr_reg(24), 0x12300);
    CHECK_EQ(ixgbe_eitr_reg(63), 0x1239c);
    CHECK_EQ(IXGBE_REG(RAH, 127), 0x0a5fc);
    CHECK_EQ(IXGBE_REG(QPRDC, 15), 0x017f0);
}

// The helpers add a queue's distance to whatever row they are given, so the rows of the two blocks must match.
static void test_both_receive_blocks_are_laid_out_alike(void) {
    uint32_t distance = IXGBE_RDT_HIGH - IXGBE_RDT;
    CHECK_EQ(IXGBE_RDBAL_HIGH - IXGBE_RDBAL, distance);
    CHECK_EQ(IXGBE_RDBAH_HIGH - IXGBE_RDBAH, distance);
    CHECK_EQ(IXGBE_RDLEN_HIGH - IXGBE_RDLEN, distance);
    CHECK_EQ(IXGBE_RDH_HIGH - IXGBE_RDH, distance);
    CHECK_EQ(IXGBE_RXDCTL_HIGH - IXGBE_RXDCTL, distance);
    CHECK_EQ(IXGBE_SRRCTL_HIGH - IXGBE_SRRCTL, distance);
    CHECK_EQ(IXGBE_RSCCTL_HIGH - IXGBE_RSCCTL, distance);
    CHECK_EQ(IXGBE_DCA_RXCTRL_HIGH - IXGBE_DCA_RXCTRL, distance);
}

static void test_known_numbers(void) {
    CHECK_EQ(IXGBE_CTRL, 0x00000);
    CHECK_EQ(IXGBE_CTRL_RST, 1u << 26);
    CHECK_EQ(IXGBE_STATUS, 0x00008);
    CHECK_EQ(IXGBE_EICR, 0x00800);
    CHECK_EQ(IXGBE_EIMC, 0x00888);
    CHECK_EQ(IXGBE_RDRXCTL, 0x02f00);
    CHECK_EQ(IXGBE_RDRXCTL_DMAIDONE, 1u << 3);
    CHECK_EQ(IXGBE_RXCTRL, 0x03000);
    CHECK_EQ(IXGBE_GPRC, 0x04074);
    CHECK_EQ(IXGBE_HLREG0, 0x04240);
    CHECK_EQ(IXGBE_AUTOC, 0x042a0);
    CHECK_EQ(IXGBE_AUTOC_LMS, 7u << 13);
    CHECK_EQ(IXGBE_LINKS, 0x042a4);
    CHECK_EQ(IXGBE_LINKS_LINK_UP, 1u << 30);
    CHECK_EQ(IXGBE_DMATXCTL, 0x04a80);
    CHECK_EQ(IXGBE_FCTRL, 0x05080);
    CHECK_EQ(IXGBE_RXDCTL_ENABLE, 1u << 25);
    CHECK_EQ(IXGBE_TXDCTL_WTHRESH, 0x7fu << 16);
    CHECK_EQ(IXGBE_TXDCTL_WTHRESH_SHIFT, 16);
    CHECK_EQ(IXGBE_SRRCTL_DROP_EN, 1u << 28);
    CHECK_EQ(IXGBE_FDIRCMD, 0x0ee2c);
    CHECK_EQ(IXGBE_EEC, 0x10010);
    CHECK_EQ(IXGBE_EEC_AUTO_RD, 1u << 9);
    CHECK_EQ(IXGBE_EERD, 0x10014);
    CHECK_EQ(IXGBE_SWSM, 0x10140);
    CHECK_EQ(IXGBE_SW_FW_SYNC, 0x10160);
}

// What a driver's self test writes patterns to, and the bits it wants to read back; all others must read as zero.
static void test_what_self_tests_expect_to_keep(void) {
    static const struct {
        unsigned row;
        uint32_t written, kept;
    } expected[] = {
        {ROW_FCRTL, 0x8007fff0, 0x8007fff0},  {ROW_FCRTH, 0x8007fff0, 0x8007fff0},
        {ROW_PFCTOP, 0xffffffff, 0xffffffff}, {ROW_FCTTV, 0xffffffff, 0xffffffff},
        {ROW_RDBAL, 0xffffff80, 0xffffff80},  {ROW_RDBAH, 0xffffffff, 0xffffffff},
        {ROW_RDLEN, 0x000fffff, 0x000fff80},  {ROW_RDT, 0x0000ffff, 0x0000ffff},
        {ROW_TDBAL, 0xffffffff, 0xffffff80},  {ROW_TDBAH, 0xffffffff, 0xffffffff},
        {ROW_TDLEN, 0x000fff80, 0x000fff80},  {ROW_RAL, 0xffffffff, 0xffffffff},
        {ROW_RAH, 0x800cffff, 0x8000ffff},    {ROW_MTA, 0xffffffff, 0xffffffff},
        {ROW_RXCTRL, 0x00000001, 0x00000001}, {ROW_STATUS, 0x7ffff30f, 0x00000000},
    };
    for (unsigned i = 0; i < LENGTH(expected); i++) {
        const struct row *row = &rows[expected[i].row];
        CHECK_ROW(row, (expected[i].written & writable_bits(expected[i].row)) == expected[i].kept);
    }
}

int main(void) {
    test_rows();
    test_no_two_rows_share_an_address();
    test_fields();
    test_writable_bits_are_given_once_and_where_they_mean_something();
    test_aliases_and_continuations_are_like_their_originals();
    test_queue_addresses();
    test_both_receive_blocks_are_laid_out_alike();
    test_known_numbers();
    test_what_self_tests_expect_to_keep();
    return test_summary();
}
