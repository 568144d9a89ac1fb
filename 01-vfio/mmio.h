// mmio.h: reading and writing device registers that are mapped into our address space.
//
// `volatile` makes the compiler perform every access, once, in order and with the width written here: the 82599 wants
// its registers in whole 32-bit words (8.1.1). It orders nothing else; barriers come with the rings, in chapter 4.
#pragma once

#include <stdint.h>

// `bar` is the start of the mapped region, `offset` the register's byte address in it.
static inline uint32_t mmio_read32(const void *bar, uint32_t offset) {
    return *(const volatile uint32_t *)((const char *)bar + offset);
}

static inline void mmio_write32(void *bar, uint32_t offset, uint32_t value) {
    *(volatile uint32_t *)((char *)bar + offset) = value;
}
