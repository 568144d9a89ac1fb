// decode.h: carrying out one trapped instruction.
//
// The software 82599 shows its registers to a driver in the same process as memory that nobody may touch. Every
// load or store there raises SIGSEGV, and the handler must do what the instruction would have done, with the
// device in the place of memory: find out where it points and how wide it is, ask the device or tell it, put the
// result where the instruction wanted it, and step over the instruction.
//
// The interface is the same for every architecture; decode_x86_64.c and decode_aarch64.c implement it. Everything
// here runs inside a signal handler: no allocation, no lock, no libc beyond memcpy and memset, and nothing
// remembered between two calls but what the processor looks like.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// What stands in the place of memory. WIDTH is 1, 2, 4 or 8 bytes, VALUE is in its low bytes and zero above.
// A wider (vector) access arrives as consecutive calls of 8 bytes in ascending order. An access that begins in the
// region and ends outside, or the reverse, arrives as one call a byte for its part inside, and a masked one as one
// call for each element that the mask selects.
struct decode_target {
    void *context;
    uint64_t (*read)(void *context, uintptr_t address, unsigned width);
    void (*write)(void *context, uintptr_t address, unsigned width, uint64_t value);
};

// Carries out the instruction that the handler's ucontext_t stopped at, and moves the context behind it.
//
// FAULT_ADDRESS is si_addr. Bytes in [region_start, region_start + region_size) belong to TARGET; an instruction
// that also touches other memory (movs, push, an access across the region's edge) finds ordinary memory there, and
// faults again, in the handler, if there is none. A repeated string instruction makes one step a call.
//
// Returns 0; or -ENOTSUP for an instruction it does not know or that cannot have faulted at FAULT_ADDRESS, and then
// neither the context has changed nor TARGET been called.
int decode_and_emulate(void *ucontext, uintptr_t fault_address, uintptr_t region_start, size_t region_size,
                       const struct decode_target *target);

// Writes the bytes at the instruction pointer, "49 8b 07 ... at 0x401136", for a message about an instruction that
// decode_and_emulate refused. On x86-64, where the length of an unknown instruction is unknown too, these are up to
// 15 bytes. The text is always terminated, and cut to SIZE. Returns the number of instruction bytes shown.
int decode_describe(const void *ucontext, char *text, size_t size);

// What the decoders of all architectures share.

struct decode_memory {
    uintptr_t start;
    size_t size;
    const struct decode_target *target;
};

static inline int decode_inside(const struct decode_memory *memory, uintptr_t address, unsigned width) {
    return address - memory->start < memory->size && memory->size - (address - memory->start) >= width;
}

static inline uint64_t decode_read(const struct decode_memory *memory, uintptr_t address, unsigned width) {
    if (decode_inside(memory, address, width)) return memory->target->read(memory->target->context, address, width);
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++) {
        int device = decode_inside(memory, address + i, 1);
        uint64_t byte = device ? decode_read(memory, address + i, 1) : *(const volatile uint8_t *)(address + i);
        value |= byte << 8 * i;
    }
    return value;
}

static inline void decode_write(const struct decode_memory *memory, uintptr_t address, unsigned width,
                                uint64_t value) {
    if (width < 8) value &= (UINT64_C(1) << 8 * width) - 1;
    if (decode_inside(memory, address, width)) {
        memory->target->write(memory->target->context, address, width, value);
        return;
    }
    for (unsigned i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        if (decode_inside(memory, address + i, 1))
            decode_write(memory, address + i, 1, byte);
        else
            *(volatile uint8_t *)(address + i) = byte;
    }
}

// Copies between a vector register's bytes and memory, in calls of at most 8 bytes.
static inline void decode_read_bytes(const struct decode_memory *memory, uintptr_t address, uint8_t *bytes,
                                     unsigned count) {
    for (unsigned at = 0; at < count; at += 8) {
        unsigned width = count - at < 8 ? count - at : 8;
        uint64_t value = decode_read(memory, address + at, width);
        memcpy(bytes + at, &value, width);
    }
}

static inline void decode_write_bytes(const struct decode_memory *memory, uintptr_t address, uint8_t *bytes,
                                      unsigned count) {
    for (unsigned at = 0; at < count; at += 8) {
        unsigned width = count - at < 8 ? count - at : 8;
        uint64_t value = 0;
        memcpy(&value, bytes + at, width);
        decode_write(memory, address + at, width, value);
    }
}

// Printed by hand, because printf may not be called in a signal handler.
static inline void decode_print(char *text, size_t size, const uint8_t *bytes, unsigned count, uintptr_t address) {
    static const char digits[] = "0123456789abcdef";
    char line[3 * 16 + sizeof("at 0x") + 16];
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        line[length++] = digits[bytes[i] >> 4];
        line[length++] = digits[bytes[i] & 15];
        line[length++] = ' ';
    }
    memcpy(line + length, "at 0x", 5);
    length += 5;
    int shift = 60;
    while (shift > 0 && address >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) line[length++] = digits[address >> shift & 15];
    if (size == 0) return;
    if (length > size - 1) length = size - 1;
    memcpy(text, line, length);
    text[length] = '\0';
}
