// The device as a whole: identity, EEPROM, reset, link, configuration space, faults.
#include "test_front.h"

static uint16_t eeprom_word(struct bench *bench, uint32_t word) {
    wr(bench, IXGBE_EERD, word << IXGBE_EERD_ADDR_SHIFT | IXGBE_EERD_START);
    uint32_t value = rd(bench, IXGBE_EERD);
    CHECK(value & IXGBE_EERD_DONE);
    return (uint16_t)(value >> IXGBE_EERD_DATA_SHIFT);
}

static void test_mac_address_comes_from_the_eeprom(void) {
    struct bench *bench = bench_create();
    CHECK_EQ(rd(bench, IXGBE_RAL), 0x82bae290);
    CHECK_EQ(rd(bench, IXGBE_RAH), 0x80000059);
    uint16_t core = eeprom_word(bench, 0x09);
    CHECK_EQ(eeprom_word(bench, core + 1u), 0xe290);
    CHECK_EQ(eeprom_word(bench, core + 2u), 0x82ba);
    bench_destroy(bench);
}

int main(void) {
    test_mac_address_comes_from_the_eeprom();
    return test_summary();
}
