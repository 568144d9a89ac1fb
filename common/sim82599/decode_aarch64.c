// decode_aarch64.c: one trapped aarch64 instruction, carried out.
//
// Every instruction is one 32-bit word, and memory is touched by loads and stores alone. They come in a few families
// that differ in how they form the address; within a family, the bits above say the rest:
//
//     31 30   29 .. 27   26   ..   23 22   ..   9 .. 5   4 .. 0
//     size               V         opc          Rn       Rt
//
// size is the width, V says that Rt is a vector register, opc tells load from store and how a load is extended, Rn
// is the base and Rt what is loaded or stored. So decoding is a search for the family in a table of (mask, value),
// and each family has one function that takes the remaining fields apart into a struct access. carry_out() then does
// what the struct says, with the device in the place of memory.
//
// Exclusive loads and stores (ldxr, stxr) are refused: the monitor they rely on is lost when the handler returns,
// so that the loop around them would never end. "Arm ARM" below is the Arm Architecture Reference Manual, chapter
// C4.1, where these families are listed as "Loads and Stores".
#ifdef __aarch64__

#define _GNU_SOURCE
#include "decode.h"

#include <asm/sigcontext.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>

enum { NO_CHANGE = -1, SP_OR_ZERO = 31 };

struct machine {
    mcontext_t *saved;
    struct fpsimd_context *vectors;  // NULL if the kernel saved none
    uint8_t *scalable;               // the record of SVE, or NULL if there is none or it holds no registers
    unsigned quads;                  // what SVE's registers are long, in 16 bytes
};

// All there is to know about one load or store.
struct access {
    uintptr_t address;
    unsigned width;  // of each of the registers: 1, 2, 4, 8 or, vectors only, 16
    bool load, vector;
    bool sign_extend;  // when loading, up to RESULT_WIDTH
    unsigned result_width;
    unsigned count, registers[2];
    int base;  // the register that gets new_base afterwards, or NO_CHANGE
    uint64_t new_base;
    int operation;  // an atomic read-modify-write of opc OPERATION with OPERAND, or NO_CHANGE
    uint64_t operand;
    bool scalable;             // the register is one of SVE, WIDTH bytes long, and the
    const uint8_t *predicate;  // bits here say which of them take part
};

static unsigned field(uint32_t word, unsigned low, unsigned bits) { return word >> low & ((1u << bits) - 1); }

static int64_t signed_field(uint32_t word, unsigned low, unsigned bits) {
    return (int32_t)(word << (32 - bits - low)) >> (32 - bits);
}

// Register 31 is the stack pointer when it is a base, and reads as zero otherwise.
static uint64_t base_register(const struct machine *m, uint32_t word) {
    unsigned number = field(word, 5, 5);
    return number == SP_OR_ZERO ? m->saved->sp : m->saved->regs[number];
}

static uint64_t get_register(const struct machine *m, unsigned number) {
    return number == SP_OR_ZERO ? 0 : m->saved->regs[number];
}

static void set_register(struct machine *m, unsigned number, uint64_t value) {
    if (number != SP_OR_ZERO) m->saved->regs[number] = value;
}

static void set_base(struct access *a, uint32_t word, uint64_t value) {
    a->base = (int)field(word, 5, 5);
    a->new_base = value;
}

// Vector registers are in records of their own, in a list behind the general ones that may go on elsewhere.
static void find_vectors(struct machine *m) {
    uint8_t *at = (uint8_t *)m->saved->__reserved;
    for (;;) {
        struct _aarch64_ctx *head = (struct _aarch64_ctx *)at;
        if (head->magic == 0 || head->size == 0) return;
        if (head->magic == FPSIMD_MAGIC) m->vectors = (struct fpsimd_context *)head;
        if (head->magic == SVE_MAGIC) {
            struct sve_context *scalable = (struct sve_context *)head;
            m->quads = sve_vq_from_vl(scalable->vl);
            if (head->size >= SVE_SIG_CONTEXT_SIZE(m->quads)) m->scalable = (uint8_t *)scalable;
        }
        if (head->magic == EXTRA_MAGIC)
            at = (uint8_t *)(uintptr_t)((struct extra_context *)head)->datap;
        else
            at += head->size;
    }
}

// A vector register is the low part of a scalable one, and writing it clears the rest. Where a record of these is
// present, not every kernel lets the other one win.
static void set_vector(struct machine *m, unsigned number, const uint8_t bytes[16]) {
    memcpy(&m->vectors->vregs[number], bytes, 16);
    if (m->scalable == NULL) return;
    uint8_t *whole = m->scalable + SVE_SIG_ZREG_OFFSET(m->quads, number);
    memset(whole, 0, SVE_SIG_ZREG_SIZE(m->quads));
    memcpy(whole, bytes, 16);
}

// Families. Each fills in the access, or returns false for a hole in the encoding or a prefetch.

// Width, direction and extension from size, V and opc, as in all families of a single register.
static bool single(uint32_t word, struct access *a) {
    unsigned size = field(word, 30, 2), opc = field(word, 22, 2);
    a->vector = field(word, 26, 1);
    a->count = 1;
    a->registers[0] = field(word, 0, 5);
    if (a->vector) {
        a->load = opc & 1;
        a->width = opc & 2 ? 16 : 1u << size;
        return !(opc & 2) || size == 0;
    }
    a->width = 1u << size;
    a->load = opc != 0;
    a->sign_extend = opc >= 2;
    a->result_width = opc == 2 ? 8 : 4;
    return a->result_width > a->width || !a->sign_extend;
}

static bool unsigned_offset(const struct machine *m, uint32_t word, struct access *a) {
    bool known = single(word, a);
    a->address = base_register(m, word) + (uint64_t)field(word, 10, 12) * a->width;
    return known;
}

static bool unscaled(const struct machine *m, uint32_t word, struct access *a) {
    a->address = base_register(m, word) + (uint64_t)signed_field(word, 12, 9);
    return single(word, a);
}

static bool pre_index(const struct machine *m, uint32_t word, struct access *a) {
    bool known = unscaled(m, word, a);
    set_base(a, word, a->address);
    return known;
}

static bool post_index(const struct machine *m, uint32_t word, struct access *a) {
    bool known = pre_index(m, word, a);
    a->address = base_register(m, word);
    return known;
}

// The index is a 64-bit register, or a 32-bit one extended by its sign or by zeros; and perhaps scaled.
static bool register_offset(const struct machine *m, uint32_t word, struct access *a) {
    bool known = single(word, a);
    unsigned option = field(word, 13, 3);
    uint64_t index = get_register(m, field(word, 16, 5));
    if (option == 2)
        index = (uint32_t)index;
    else if (option == 6)
        index = (uint64_t)(int32_t)index;
    a->address = base_register(m, word) + (field(word, 12, 1) ? index * a->width : index);
    return known && option & 2;
}

// ldar, stlr and ldapr: the handler's own order is stronger than what they ask for.
static bool ordered(const struct machine *m, uint32_t word, struct access *a) {
    a->width = 1u << field(word, 30, 2);
    a->load = field(word, 22, 1) || field(word, 29, 1);
    a->count = 1;
    a->registers[0] = field(word, 0, 5);
    a->address = base_register(m, word);
    return true;
}

// swp, ldadd, ldclr, ldeor, ldset
static bool atomic(const struct machine *m, uint32_t word, struct access *a) {
    a->operation = (int)field(word, 12, 4);
    a->operand = get_register(m, field(word, 16, 5));
    ordered(m, word, a);
    a->load = true;
    return true;
}

// ldp, stp and ldnp, stnp; the offset counts registers, and index says whether and when the base changes.
static bool pair(const struct machine *m, uint32_t word, struct access *a) {
    enum { NON_TEMPORAL, POST, OFFSET, PRE };
    unsigned opc = field(word, 30, 2), index = field(word, 23, 2);
    a->vector = field(word, 26, 1);
    a->load = field(word, 22, 1);
    a->width = a->vector ? 4u << opc : opc == 2 ? 8 : 4;
    a->sign_extend = !a->vector && opc == 1;  // ldpsw
    a->result_width = 8;
    a->count = 2;
    a->registers[0] = field(word, 0, 5);
    a->registers[1] = field(word, 10, 5);
    a->address = base_register(m, word) + (uint64_t)(signed_field(word, 15, 7) * (int64_t)a->width);
    if (index == PRE || index == POST) set_base(a, word, a->address);
    if (index == POST) a->address = base_register(m, word);
    return opc != 3 && !(a->sign_extend && (!a->load || index == NON_TEMPORAL));
}

// ld1b and st1b of bytes, the two instructions that glibc's memcpy is made of where there is SVE.
static bool scalable(const struct machine *m, uint32_t word, struct access *a) {
    if (m->scalable == NULL) return false;
    bool immediate = field(word, 15, 1);
    a->scalable = true;
    a->load = !field(word, 30, 1);
    a->width = 16 * m->quads;
    a->count = 1;
    a->registers[0] = field(word, 0, 5);
    a->address = base_register(m, word);
    a->address +=
        immediate ? (uint64_t)(signed_field(word, 16, 4) * (int64_t)a->width) : get_register(m, field(word, 16, 5));
    a->predicate = m->scalable + SVE_SIG_PREG_OFFSET(m->quads, field(word, 10, 3));
    return true;
}

struct family {
    uint32_t mask, value;
    bool (*read)(const struct machine *m, uint32_t word, struct access *a);
};

static const struct family families[] = {
    {0x3b000000, 0x39000000, unsigned_offset},  // ldr x0, [x1, #8]
    {0x3b200c00, 0x38000000, unscaled},         // ldur x0, [x1, #-8]
    {0x3b200c00, 0x38000400, post_index},       // ldr x0, [x1], #8
    {0x3f200c00, 0x38000800, unscaled},         // ldtr x0, [x1, #8]: as an unprivileged program would
    {0x3b200c00, 0x38000c00, pre_index},        // ldr x0, [x1, #8]!
    {0x3b200c00, 0x38200800, register_offset},  // ldr x0, [x1, x2, lsl #3]
    {0x3f200c00, 0x19000000, unscaled},         // ldapur x0, [x1, #8]
    {0x3a000000, 0x28000000, pair},             // ldp x0, x2, [x1, #16]
    {0x3fbf7c00, 0x089f7c00, ordered},          // ldar x0, [x1]
    {0x3ffffc00, 0x38bfc000, ordered},          // ldapr x0, [x1]
    {0x3f20fc00, 0x38208000, atomic},           // swp x0, x2, [x1]
    {0x3f20cc00, 0x38200000, atomic},           // ldadd, ldclr, ldeor, ldset x0, x2, [x1]
    {0xfff0e000, 0xa400a000, scalable},         // ld1b {z0.b}, p0/z, [x1, #1, mul vl]
    {0xffe0e000, 0xa4004000, scalable},         // ld1b {z0.b}, p0/z, [x1, x2]
    {0xfff0e000, 0xe400e000, scalable},         // st1b {z0.b}, p0, [x1, #1, mul vl]
    {0xffe0e000, 0xe4004000, scalable},         // st1b {z0.b}, p0, [x1, x2]
};

static uint64_t extended(const struct access *a, uint64_t value) {
    unsigned unused = 64 - 8 * a->width;
    if (!a->sign_extend) return value;
    value = (uint64_t)((int64_t)(value << unused) >> unused);
    return a->result_width == 4 ? (uint32_t)value : value;
}

static uint64_t combined(const struct access *a, uint64_t old) {
    enum { LDADD, LDCLR, LDEOR, LDSET, SWP = 8 };
    switch (a->operation) {
    case LDADD: return old + a->operand;
    case LDCLR: return old & ~a->operand;
    case LDEOR: return old ^ a->operand;
    case LDSET: return old | a->operand;
    default: return a->operand;
    }
}

// Byte by byte, since each has a predicate bit that says whether it takes part.
static void carry_out_scalable(struct machine *m, const struct decode_memory *memory, const struct access *a) {
    unsigned number = a->registers[0];
    uint8_t *bytes = m->scalable + SVE_SIG_ZREG_OFFSET(m->quads, number);
    for (unsigned i = 0; i < a->width; i++) {
        bool active = a->predicate[i / 8] >> i % 8 & 1;
        if (a->load)
            bytes[i] = active ? (uint8_t)decode_read(memory, a->address + i, 1) : 0;
        else if (active)
            decode_write(memory, a->address + i, 1, bytes[i]);
    }
    if (m->vectors != NULL) memcpy(&m->vectors->vregs[number], bytes, 16);
}

static void carry_out(struct machine *m, const struct decode_memory *memory, const struct access *a) {
    // The base first: if a load names the same register, what is loaded stays.
    uint64_t stored[2] = {get_register(m, a->registers[0]), get_register(m, a->registers[1])};
    if (a->base == SP_OR_ZERO)
        m->saved->sp = a->new_base;
    else if (a->base != NO_CHANGE)
        set_register(m, (unsigned)a->base, a->new_base);

    for (unsigned i = 0; i < a->count; i++) {
        uintptr_t address = a->address + i * a->width;
        if (a->vector) {
            uint8_t bytes[16] = {0};
            if (a->load) {
                decode_read_bytes(memory, address, bytes, a->width);
                set_vector(m, a->registers[i], bytes);
            } else {
                memcpy(bytes, &m->vectors->vregs[a->registers[i]], 16);
                decode_write_bytes(memory, address, bytes, a->width);
            }
        } else if (a->load) {
            uint64_t value = decode_read(memory, address, a->width);
            if (a->operation != NO_CHANGE) decode_write(memory, address, a->width, combined(a, value));
            set_register(m, a->registers[i], extended(a, value));
        } else {
            decode_write(memory, address, a->width, stored[i]);
        }
    }
}

int decode_and_emulate(void *ucontext, uintptr_t fault_address, uintptr_t region_start, size_t region_size,
                       const struct decode_target *target) {
    struct machine m = {.saved = &((ucontext_t *)ucontext)->uc_mcontext};
    struct decode_memory memory = {region_start, region_size, target};
    struct access a = {.base = NO_CHANGE, .operation = NO_CHANGE};
    uint32_t word;

    memcpy(&word, (const void *)(uintptr_t)m.saved->pc, sizeof word);
    find_vectors(&m);
    const struct family *family = families, *end = families + sizeof families / sizeof(*families);
    while (family < end && (word & family->mask) != family->value) family++;
    if (family == end || !family->read(&m, word, &a)) return -ENOTSUP;
    // A last defence against having misread the instruction: it must touch the byte that faulted.
    if (fault_address - a.address >= a.count * a.width) return -ENOTSUP;
    if (a.vector && m.vectors == NULL) return -ENOTSUP;
    if (a.scalable)
        carry_out_scalable(&m, &memory, &a);
    else
        carry_out(&m, &memory, &a);
    m.saved->pc += 4;
    return 0;
}

int decode_describe(const void *ucontext, char *text, size_t size) {
    uintptr_t address = ((const ucontext_t *)ucontext)->uc_mcontext.pc;
    decode_print(text, size, (const uint8_t *)address, 4, address);
    return 4;
}

#endif
