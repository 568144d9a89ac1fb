// The device as a whole: identity, EEPROM, module, reset, link, configuration space, faults.
#include "test_front.h"

static uint16_t eeprom_word(struct bench *bench, uint32_t word) {
    wr(bench, IXGBE_EERD, word << IXGBE_EERD_ADDR_SHIFT | IXGBE_EERD_START);
    uint32_t value = rd(bench, IXGBE_EERD);
    return value & IXGBE_EERD_DONE ? (uint16_t)(value >> IXGBE_EERD_DATA_SHIFT) : 0xdead;
}

static void test_mac_address_comes_from_the_eeprom(void) {
    struct bench *bench = bench_create();
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    CHECK_EQ(rd(bench, IXGBE_RAH), 0x80000059);
    CHECK_EQ(rd(bench, IXGBE_RAL_ALIAS), 0x82bae290);
    uint16_t core = eeprom_word(bench, 0x09);
    CHECK_EQ(eeprom_word(bench, core + 1u), 0xe290);
    CHECK_EQ(eeprom_word(bench, core + 2u), 0x82ba);
    bench_destroy(bench);
}

static void test_eeprom_adds_up(void) {
    struct bench *bench = bench_create();
    uint16_t sum = 0;
    for (uint32_t i = 0; i <= 0x3f; i++) sum = (uint16_t)(sum + eeprom_word(bench, i));
    for (uint32_t i = 3; i < 0x0f; i++) {
        uint16_t pointer = eeprom_word(bench, i);
        if (pointer == 0 || pointer == 0xffff) continue;
        for (uint32_t j = 1, length = eeprom_word(bench, pointer); j <= length; j++) {
            sum = (uint16_t)(sum + eeprom_word(bench, pointer + j));
        }
    }
    CHECK_EQ(sum, 0xbaba);
    bench_destroy(bench);
}

static void test_eeprom_names_the_part(void) {
    struct bench *bench = bench_create();
    char text[32] = "";
    CHECK_EQ(eeprom_word(bench, 0x15), 0xfafa);
    uint32_t at = eeprom_word(bench, 0x16), words = eeprom_word(bench, at);
    CHECK(words > 1 && words < 16);
    for (uint32_t i = 1; i < words && i < 16; i++) {
        uint16_t word = eeprom_word(bench, at + i);
        text[2 * i - 2] = (char)(word >> 8), text[2 * i - 1] = (char)word;
    }
    CHECK(strcmp(text, "082599-000") == 0);
    bench_destroy(bench);
}

static void spi_wires(struct bench *bench, bool select, bool clock, bool data) {
    wr(bench, IXGBE_EEC,
       IXGBE_EEC_EE_REQ | IXGBE_EEC_FWE | (select ? IXGBE_EEC_EE_CS : 0) | (clock ? IXGBE_EEC_EE_SK : 0) |
           (data ? IXGBE_EEC_EE_DI : 0));
}

static void spi_out_bits(struct bench *bench, uint32_t value, int bits) {
    for (int i = bits - 1; i >= 0; i--) {
        bool bit = value >> i & 1;
        spi_wires(bench, true, false, bit);
        spi_wires(bench, true, true, bit);
        spi_wires(bench, true, false, bit);
    }
}

static uint32_t spi_in_bits(struct bench *bench, int bits) {
    uint32_t value = 0;
    for (int i = 0; i < bits; i++) {
        spi_wires(bench, true, true, false);
        value = value << 1 | !!(rd(bench, IXGBE_EEC) & IXGBE_EEC_EE_DO);
        spi_wires(bench, true, false, false);
    }
    return value;
}

static void test_eeprom_by_its_wires(void) {
    struct bench *bench = bench_create();
    spi_wires(bench, false, false, false);
    CHECK(rd(bench, IXGBE_EEC) & IXGBE_EEC_EE_GNT);
    spi_out_bits(bench, 0x03, 8);
    spi_out_bits(bench, 0x15 * 2, 16);
    CHECK_EQ(spi_in_bits(bench, 16), 0xfafa);
    CHECK_EQ(spi_in_bits(bench, 8), eeprom_word(bench, 0x16) & 0xff);
    spi_wires(bench, false, false, false);

    spi_out_bits(bench, 0x02, 8);  // without write enable nothing happens
    spi_out_bits(bench, 0x100 * 2, 16);
    spi_out_bits(bench, 0x3412, 16);
    spi_wires(bench, false, false, false);
    CHECK_EQ(eeprom_word(bench, 0x100), 0xffff);
    spi_out_bits(bench, 0x06, 8);
    spi_wires(bench, false, false, false);
    spi_out_bits(bench, 0x02, 8);
    spi_out_bits(bench, 0x100 * 2, 16);
    spi_out_bits(bench, 0x3412, 16);
    spi_wires(bench, false, false, false);
    CHECK_EQ(eeprom_word(bench, 0x100), 0x1234);
    spi_out_bits(bench, 0x05, 8);
    CHECK_EQ(spi_in_bits(bench, 8), 0);
    bench_destroy(bench);
}

static void i2c_wires(struct bench *bench, bool clock, bool data) {
    wr(bench, IXGBE_I2CCTL, (clock ? IXGBE_I2CCTL_CLK_OUT : 0) | (data ? IXGBE_I2CCTL_DATA_OUT : 0));
}
static bool i2c_data(struct bench *bench) { return rd(bench, IXGBE_I2CCTL) & IXGBE_I2CCTL_DATA_IN; }

static void i2c_start(struct bench *bench) {
    i2c_wires(bench, false, true);
    i2c_wires(bench, true, true);
    i2c_wires(bench, true, false);
    i2c_wires(bench, false, false);
}

static bool i2c_out(struct bench *bench, uint8_t byte) {
    for (int i = 7; i >= 0; i--) {
        i2c_wires(bench, false, byte >> i & 1);
        i2c_wires(bench, true, byte >> i & 1);
        i2c_wires(bench, false, byte >> i & 1);
    }
    i2c_wires(bench, false, true);
    i2c_wires(bench, true, true);
    bool answered = !i2c_data(bench);
    i2c_wires(bench, false, true);
    return answered;
}

static uint8_t i2c_in(struct bench *bench, bool more) {
    uint8_t byte = 0;
    for (int i = 0; i < 8; i++) {
        i2c_wires(bench, false, true);
        i2c_wires(bench, true, true);
        byte = (uint8_t)(byte << 1 | i2c_data(bench));
        i2c_wires(bench, false, true);
    }
    i2c_wires(bench, false, !more);
    i2c_wires(bench, true, !more);
    i2c_wires(bench, false, !more);
    return byte;
}

static void i2c_stop(struct bench *bench) {
    i2c_wires(bench, false, false);
    i2c_wires(bench, true, false);
    i2c_wires(bench, true, true);
}

static void read_module(struct bench *bench, uint8_t device, uint8_t offset, uint8_t *bytes, int count) {
    i2c_start(bench);
    CHECK(i2c_out(bench, device));
    CHECK(i2c_out(bench, offset));
    i2c_start(bench);
    CHECK(i2c_out(bench, device | 1));
    for (int i = 0; i < count; i++) bytes[i] = i2c_in(bench, i + 1 < count);
    i2c_stop(bench);
}

static void test_module_over_its_two_wires(void) {
    struct bench *bench = bench_create();
    uint8_t page[128], sum = 0;
    read_module(bench, 0xa0, 0, page, 128);
    CHECK_EQ(page[0], 3);
    CHECK_EQ(page[3] & 0x10, 0x10);
    CHECK(memcmp(page + 37, "\x00\x1b\x21", 3) == 0);
    for (int i = 0; i < 63; i++) sum = (uint8_t)(sum + page[i]);
    CHECK_EQ(page[63], sum);
    read_module(bench, 0xa0, 20, page, 1);
    CHECK_EQ(page[0], 'S');
    read_module(bench, 0xa2, 96, page, 2);
    CHECK_EQ(page[0], 40);  // degrees
    i2c_start(bench);
    CHECK(!i2c_out(bench, 0xb0));
    i2c_stop(bench);
    CHECK(rd(bench, IXGBE_ESDP) & IXGBE_ESDP_SDP2_DATA);
    bench_destroy(bench);
}

static void test_reset_takes_its_time(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_FCTRL, IXGBE_FCTRL_UPE);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    CHECK(rd(bench, IXGBE_CTRL) & IXGBE_CTRL_RST);
    CHECK_EQ(rd(bench, IXGBE_FCTRL), 0);
    CHECK_EQ(rd(bench, IXGBE_RDLEN), 0);
    CHECK(!(rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE));
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    pass_us(bench, 10);
    CHECK(!(rd(bench, IXGBE_CTRL) & IXGBE_CTRL_RST));
    CHECK(!(rd(bench, IXGBE_EEC) & IXGBE_EEC_AUTO_RD));
    CHECK(!(rd(bench, IXGBE_RDRXCTL) & IXGBE_RDRXCTL_DMAIDONE));
    pass_us(bench, 1000);
    CHECK(rd(bench, IXGBE_EEC) & IXGBE_EEC_AUTO_RD);
    CHECK(rd(bench, IXGBE_RDRXCTL) & IXGBE_RDRXCTL_DMAIDONE);
    uint8_t command = 0;
    sim_config_read(bench->device, 4, &command, 1);
    CHECK_EQ(command, 6);  // a software reset leaves the PCI side alone
    bench_destroy(bench);
}

static void test_function_reset_is_thorough(void) {
    struct bench *bench = bench_running();
    sim_function_reset(bench->device);
    uint16_t command = 1;
    sim_config_read(bench->device, 4, &command, 2);
    CHECK_EQ(command, 0);
    CHECK(!sim_bus_mastering(bench->device));
    CHECK_EQ(rd(bench, IXGBE_RXCTRL), 0);
    CHECK_EQ(rd(bench, IXGBE_CTRL), 0);
    CHECK(rd(bench, IXGBE_EEC) & IXGBE_EEC_AUTO_RD);
    bench_destroy(bench);
}

static void test_semaphore_is_taken_by_reading(void) {
    struct bench *bench = bench_create();
    CHECK(!(rd(bench, IXGBE_SWSM) & IXGBE_SWSM_SMBI));
    CHECK(rd(bench, IXGBE_SWSM) & IXGBE_SWSM_SMBI);
    wr(bench, IXGBE_SWSM, IXGBE_SWSM_SMBI | IXGBE_SWSM_SWESMBI);
    CHECK(rd(bench, IXGBE_SWSM) & IXGBE_SWSM_SWESMBI);
    wr(bench, IXGBE_SWSM, 0);
    CHECK(!(rd(bench, IXGBE_SWSM) & IXGBE_SWSM_SMBI));
    bench_destroy(bench);
}

static void test_link_follows_the_light(void) {
    struct bench *bench = bench_create();
    settle(bench);
    CHECK(!(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP));
    pass_us(bench, 20000);
    uint32_t links = rd(bench, IXGBE_LINKS);
    CHECK(links & IXGBE_LINKS_LINK_UP);
    CHECK_EQ(links >> IXGBE_LINKS_LINK_SPEED_SHIFT & 3, IXGBE_SPEED_10G);
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_LSC);
    CHECK(!(rd(bench, IXGBE_EICR) & IXGBE_EICR_LSC));
    bench->light = false;
    pass_us(bench, 20000);
    CHECK(!(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP));
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_LSC);
    wr(bench, IXGBE_AUTOC, rd(bench, IXGBE_AUTOC) | IXGBE_AUTOC_FLU);
    CHECK(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP);
    bench_destroy(bench);
}

static void test_restarting_the_link_drops_it(void) {
    struct bench *bench = bench_create();
    pass_us(bench, 20000);
    wr(bench, IXGBE_AUTOC, rd(bench, IXGBE_AUTOC) | IXGBE_AUTOC_RESTART_AN);
    CHECK(!(rd(bench, IXGBE_AUTOC) & IXGBE_AUTOC_RESTART_AN));
    CHECK(!(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP));
    pass_us(bench, 20000);
    uint32_t links = rd(bench, IXGBE_LINKS);
    CHECK(links & IXGBE_LINKS_LINK_UP);
    CHECK(!(links & IXGBE_LINKS_LINK_STATUS));  // it was down since the last time
    CHECK(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_STATUS);
    bench->light = false;
    pass_us(bench, 20000);
    bench->light = true;
    pass_us(bench, 20000);
    CHECK(!(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_STATUS));
    CHECK(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_STATUS);
    bench_destroy(bench);
}

static void test_laser_is_sdp3(void) {
    struct bench *bench = bench_create();
    CHECK(sim_laser_on(bench->device));
    wr(bench, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA | 8 << IXGBE_ESDP_SDP_IODIR_SHIFT);
    CHECK(!sim_laser_on(bench->device));
    bench_destroy(bench);
}

static void test_master_disable_stops_dma(void) {
    struct bench *bench = bench_running();
    CHECK(rd(bench, IXGBE_STATUS) & IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_MASTER_DISABLE);
    CHECK(!(rd(bench, IXGBE_STATUS) & IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS));
    make_udp(tx_buffer(bench, 0), 60, 1, 2);
    put_data(bench, 0, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 0);
    wr(bench, IXGBE_CTRL, 0);
    settle(bench);
    CHECK_EQ(bench->sent_count, 1);
    bench_destroy(bench);
}

static uint32_t config32(struct bench *bench, uint32_t offset) {
    uint32_t value;
    sim_config_read(bench->device, offset, &value, 4);
    return value;
}

static void test_configuration_space(void) {
    struct bench *bench = bench_create();
    CHECK_EQ(config32(bench, 0), 0x10fb8086);
    CHECK_EQ(config32(bench, 8), 0x02000001);
    const uint32_t ones = UINT32_MAX, sizes[6] = {SIM_BAR0_SIZE, 0, SIM_BAR2_SIZE, 0, SIM_BAR4_SIZE, 0};
    for (uint32_t bar = 0; bar < 6; bar += 2) {
        sim_config_write(bench->device, 0x10 + 4 * bar, &ones, 4);
        uint32_t mask = bar == 2 ? ~3u : ~15u;
        CHECK_EQ(~(config32(bench, 0x10 + 4 * bar) & mask) + 1, sizes[bar]);
    }
    unsigned seen = 0;
    for (uint32_t at = config32(bench, 0x34) & 0xff, n = 0; at && n < 8; at = config32(bench, at) >> 8 & 0xff, n++) {
        uint32_t id = config32(bench, at) & 0xff;
        seen |= 1u << (id & 31);
        if (id == 0x11) {
            CHECK_EQ((config32(bench, at) >> 16 & 0x7ff) + 1, 64);
            CHECK_EQ(config32(bench, at + 4), 4);
        }
    }
    CHECK_EQ(seen, 1 << 1 | 1 << 5 | 1 << 16 | 1 << 17);
    CHECK_EQ(config32(bench, 0x100) & 0xffff, 1);
    CHECK_EQ(config32(bench, config32(bench, 0x100) >> 20) & 0xffff, 3);
    uint8_t beyond[8];
    sim_config_read(bench->device, 4092, beyond, 8);
    sim_config_write(bench->device, 4092, beyond, 8);
    sim_config_write(bench->device, 5000, beyond, 8);
    CHECK_EQ(beyond[7], 0xff);
    bench_destroy(bench);
}

static void test_function_level_reset_bit(void) {
    struct bench *bench = bench_running();
    uint16_t control = 0x8000;
    sim_config_write(bench->device, 0xa8, &control, 2);
    CHECK_EQ(rd(bench, IXGBE_RXCTRL), 0);
    CHECK(!(config32(bench, 0xa8) & 0x8000));
    bench_destroy(bench);
}

// The patterns of a driver's register self-test: what can be written must read back, the rest must not change.
static void test_registers_keep_what_they_should(void) {
    static const struct {
        uint32_t offset, count, stride, mask, write;
    } tests[] = {
        {IXGBE_FCRTL, 1, 4, 0x8007fff0, 0x8007fff0},      {IXGBE_FCRTH, 1, 4, 0x8007fff0, 0x8007fff0},
        {IXGBE_RDBAL, 4, 0x40, 0xffffff80, 0xffffff80},   {IXGBE_RDBAH, 4, 0x40, 0xffffffff, 0xffffffff},
        {IXGBE_RDLEN, 4, 0x40, 0x000fff80, 0x000fffff},   {IXGBE_RDT, 4, 0x40, 0x0000ffff, 0x0000ffff},
        {IXGBE_FCTTV, 1, 4, 0xffffffff, 0xffffffff},      {IXGBE_TDBAL, 4, 0x40, 0xffffff80, 0xffffffff},
        {IXGBE_TDBAH, 4, 0x40, 0xffffffff, 0xffffffff},   {IXGBE_TDLEN, 4, 0x40, 0x000fff80, 0x000fff80},
        {IXGBE_RXCTRL, 1, 4, 0x00000001, 0x00000001},     {IXGBE_RAL_ALIAS, 16, 8, 0xffffffff, 0xffffffff},
        {IXGBE_RAH_ALIAS, 16, 8, 0x8001ffff, 0x800cffff}, {IXGBE_MTA, 128, 4, 0xffffffff, 0xffffffff},
    };
    static const uint32_t patterns[] = {0x5a5a5a5a, 0xa5a5a5a5, 0x00000000, 0xffffffff};
    struct bench *bench = bench_create();
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
        for (uint32_t n = 0; n < tests[i].count; n++) {
            uint32_t offset = tests[i].offset + n * tests[i].stride;
            for (int p = 0; p < 4; p++) {
                uint32_t before = rd(bench, offset);
                wr(bench, offset, patterns[p] & tests[i].write);
                CHECK_EQ(rd(bench, offset), patterns[p] & tests[i].write & tests[i].mask);
                wr(bench, offset, before);
            }
        }
    }
    uint32_t status = rd(bench, IXGBE_STATUS);
    wr(bench, IXGBE_STATUS, ~status);
    CHECK_EQ(rd(bench, IXGBE_STATUS), status);
    CHECK_EQ(rd(bench, 0x1fff0), 0);
    bench_destroy(bench);
}

static void test_a_queue_starts_when_its_bit_has_been_seen(void) {
    struct bench *bench = bench_create();
    bring_up(bench);
    wr(bench, IXGBE_TDLEN, RING_SIZE * 16);
    wr(bench, IXGBE_TXDCTL, IXGBE_TXDCTL_ENABLE);
    CHECK(!(rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE));
    CHECK(rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE);
    wr(bench, IXGBE_TXDCTL, 0);
    CHECK(rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE);
    CHECK(!(rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE));
    wr(bench, IXGBE_TXDCTL, IXGBE_TXDCTL_ENABLE);
    pass_us(bench, 200);  // nobody looks, and it starts all the same
    CHECK(rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE);
    bench_destroy(bench);
}

static void test_flow_director_initializes(void) {
    struct bench *bench = bench_create();
    wr(bench, IXGBE_FDIRCTRL, 1);
    CHECK(rd(bench, IXGBE_FDIRCTRL) & IXGBE_FDIRCTRL_INIT_DONE);
    wr(bench, IXGBE_FDIRCMD, 1);
    CHECK_EQ(rd(bench, IXGBE_FDIRCMD) & IXGBE_FDIRCMD_CMD, 0);
    bench_destroy(bench);
}

static void test_faults(void) {
    struct bench *bench = bench_create();
    CHECK_EQ(sim_inject(bench->device, "reset-stuck"), 0);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    pass_us(bench, 100000);
    CHECK(rd(bench, IXGBE_CTRL) & IXGBE_CTRL_RST);
    bench_destroy(bench);

    bench = bench_create();
    CHECK_EQ(sim_inject(bench->device, "eeprom-stuck,dma-stuck"), 0);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    pass_us(bench, 100000);
    CHECK(!(rd(bench, IXGBE_CTRL) & IXGBE_CTRL_RST));
    CHECK(!(rd(bench, IXGBE_EEC) & IXGBE_EEC_AUTO_RD));
    CHECK(!(rd(bench, IXGBE_RDRXCTL) & IXGBE_RDRXCTL_DMAIDONE));
    CHECK_EQ(eeprom_word(bench, 0), 0xdead);
    bench_destroy(bench);

    bench = bench_create();
    CHECK_EQ(sim_inject(bench->device, "queue-stuck,link-down"), 0);
    wr(bench, IXGBE_RDLEN, RING_SIZE * 16);
    wr(bench, IXGBE_RXDCTL, IXGBE_RXDCTL_ENABLE);
    pass_us(bench, 100000);
    CHECK(!(rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE));
    CHECK(!(rd(bench, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP));
    bench_destroy(bench);

    bench = bench_create();
    CHECK_EQ(sim_inject(bench->device, "unplugged@3"), 0);
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    CHECK_EQ(rd(bench, IXGBE_RAL), UINT32_MAX);
    CHECK_EQ(config32(bench, 0), UINT32_MAX);
    CHECK(sim_next_timer_ns(bench->device) == SIM_NEVER);  // nobody has to wake up for a card that is gone
    bench_destroy(bench);

    bench = bench_create();
    hush(true);
    CHECK_EQ(sim_inject(bench->device, "link-flap,no-such-thing"), -EINVAL);
    CHECK_EQ(sim_inject(bench->device, "iommu@x"), -EINVAL);
    hush(false);
    unsigned changes = 0;
    for (int i = 0; i < 100; i++) {
        pass_us(bench, 5000);
        changes += !!(rd(bench, IXGBE_EICR) & IXGBE_EICR_LSC);
    }
    CHECK(changes > 4);
    bench_destroy(bench);
}

static void test_register_names(void) {
    char name[32];
    CHECK(strcmp(sim_register_name(IXGBE_RXDCTL, name), "RXDCTL[0]") == 0);
    CHECK(strcmp(sim_register_name(ixgbe_rx_queue_reg(IXGBE_RXDCTL, 70), name), "RXDCTL[70]") == 0);
    CHECK(strcmp(sim_register_name(IXGBE_SRRCTL_ALIAS + 8, name), "SRRCTL[2]") == 0);
    CHECK(strcmp(sim_register_name(IXGBE_CTRL, name), "CTRL") == 0);
    CHECK(sim_register_name(0x1fff0, name) == NULL);
    CHECK(sim_register_name(SIM_BAR0_SIZE + 4, name) == NULL);
}

// Whatever is written anywhere, the device keeps its feet; the memory checkers look on.
static void test_nonsense_everywhere(void) {
    struct bench *bench = bench_running();
    hush(true);  // every single rule is going to be broken
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t offset = (uint32_t)(seed >> 33) % SIM_BAR0_SIZE & ~3u, value = (uint32_t)(seed >> 20);
        if (i % 3 == 0) offset = (i % 2 ? IXGBE_TDBAL : IXGBE_RDBAL) + (offset & 0x7c);
        if (offset == IXGBE_CTRL || offset == IXGBE_CTRL_ALIAS) value &= ~(IXGBE_CTRL_RST | IXGBE_CTRL_LRST);
        wr(bench, offset, value);
        bench->memory[(seed >> 25) % MEMORY_BYTES] = (uint8_t)value;
        if (i % 7 == 0)
            sim_receive(bench->device, bench->memory + (seed >> 40) % 65536, 14 + (uint32_t)(seed >> 30) % 2000);
        bench->now_ns += 1000;
        if (i % 1000 == 0) bring_up(bench), start_tx_queue(bench, 0), start_rx_queue(bench, 0);
    }
    hush(false);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    pass_us(bench, 1000);
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    bench_destroy(bench);
}

int main(void) {
    test_mac_address_comes_from_the_eeprom();
    test_eeprom_adds_up();
    test_eeprom_names_the_part();
    test_eeprom_by_its_wires();
    test_module_over_its_two_wires();
    hush(true);  // not the way a driver should go about it
    test_reset_takes_its_time();
    hush(false);
    test_function_reset_is_thorough();
    test_semaphore_is_taken_by_reading();
    test_link_follows_the_light();
    test_restarting_the_link_drops_it();
    test_laser_is_sdp3();
    test_master_disable_stops_dma();
    test_configuration_space();
    hush(true);  // not the way a driver should go about it
    test_function_level_reset_bit();
    test_registers_keep_what_they_should();
    test_a_queue_starts_when_its_bit_has_been_seen();
    hush(false);
    test_flow_director_initializes();
    test_faults();
    test_register_names();
    test_nonsense_everywhere();
    return test_summary();
}
