// decode_x86_64.c: one trapped x86-64 instruction, carried out.
//
// The instruction set looks endless, but the part that touches memory is regular. Every instruction is
//
//     prefixes   opcode   modrm [sib] [displacement]   [immediate]
//
// where modrm names one register and one memory operand. So decoding is the same few steps for all of them:
//
//   1. read_prefixes: the legacy ones (66: 16-bit operands, 67: 32-bit addresses, f2/f3: repeat), then one of
//      REX, VEX or EVEX, which add bits to the register numbers and pack some of the former into fewer bytes.
//   2. read_opcode: the opcode byte and the map (none, 0f, 0f 38, 0f 3a) it is to be looked up in.
//   3. find_form: a row in one of two tables. The row says how wide the memory operand is, what follows the
//      opcode, and which action the instruction performs. The tables are what this program knows of x86.
//   4. read_modrm and the immediate: the rest of the bytes, from which the memory operand's address follows.
//
// Nothing has changed until then, so that an instruction without a row can be refused. The action reads and writes
// its memory operand with get() and put(), which ask the device, and its register operands in the saved context,
// from where the kernel loads them when the signal handler returns. Flags are computed in C rather than by running
// the same instruction: all of them follow from the operands, the result and the carries between the bits.
//
// "Intel SDM" below is volume 2 of the Intel 64 and IA-32 Software Developer's Manual; AMD's volume 3 says the same.
#ifdef __x86_64__

#define _GNU_SOURCE
#include "decode.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>

enum { CF = 0x001, PF = 0x004, AF = 0x010, ZF = 0x040, SF = 0x080, DF = 0x400, OF = 0x800 };
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP };                        // in the order of their opcodes
enum { ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR };                       // likewise
enum { ONE, M_0F, M_0F38, M_0F3A };                                    // opcode maps, numbered as VEX numbers them
enum { LEGACY = 1, VEX = 2, EVEX = 4 };                                // encodings a row stands for
enum { NP = 1, P66 = 2, PF3 = 4, PF2 = 8, ANY = 15, INT = NP | P66 };  // prefixes a row stands for

// Widths a row can give its memory operand, besides a plain number of bytes up to 32.
enum {
    BY_OPCODE = 100,  // 1 byte if the opcode is even, else OPERAND
    OPERAND,          // 2, 4 or 8 by prefix 66 and REX.W
    WIDE,             // 4, or 8 by W
    STACK,            // 8, or 2 by prefix 66
    VECTOR,           // 16, 32 or 64 by the encoding's vector length
};

// What follows the opcode.
enum shape {
    MODRM,       // modrm
    MODRM_BIT,   // modrm, and the register is a bit number that may lead far away from the address
    MODRM_IMM8,  // modrm and one sign-extended byte
    MODRM_IMM,   // modrm and a sign-extended immediate as wide as the operand, but at most 4 bytes
    MODRM_ONE,   // modrm, and an implied immediate 1
    MODRM_CL,    // modrm, and CL in the place of the immediate
    OFFSET,      // the whole address; the register is rax
    STRING,      // nothing: rsi, rdi and rax are implied
};

struct emulation;

struct form {
    uint8_t map, opcode, mask;  // rows match (opcode & mask)
    uint8_t digit;              // the opcode's extension in modrm, "/0" to "/7" in the manuals, or R
    uint8_t prefixes, encodings, width;
    enum shape shape;
    void (*action)(struct emulation *e);
};
enum { R = 8 };  // "/r": modrm names a register, and the row does not care which

struct emulation {
    greg_t *registers;             // the saved general registers, in the order of REG_xxx
    uint8_t *fp;                   // the saved floating point and vector state, as FXSAVE or XSAVE lay it out
    uint8_t *low, *middle, *high;  // within it: bytes 0-15, 16-31 and 32-63 of vector registers 0-15,
    uint8_t *extra, *masks;        // the whole registers 16-31, and the mask registers
    struct decode_memory memory;
    uintptr_t fault_address;

    const uint8_t *start, *next;  // the instruction, and the byte decoding has come to
    unsigned encoding, prefix;    // one bit of the enumerations above
    bool operand16, address32, segment, repeat, rex, w;
    unsigned r, x, b;       // the prefix's high bits for the register, index and base numbers, in place
    unsigned vvvv;          // the third operand of VEX and EVEX
    unsigned vector_width;  // bytes
    unsigned mask;          // EVEX: the mask register, or 0 for none,
    bool zeroing;           // and whether elements not chosen become 0
    unsigned map, opcode;
    const struct form *form;
    unsigned width, operand_width;  // of the memory operand; as prefix 66 and REX.W say
    unsigned digit, reg;            // modrm's register field, without and with the prefix's bits
    uintptr_t address;
    uint64_t immediate;
};

// Registers and flags in the saved context

static greg_t *general_register(struct emulation *e, unsigned number) {
    static const uint8_t place[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return &e->registers[place[number]];
}

// Without REX, the byte registers 4 to 7 are ah, ch, dh and bh: the second bytes of registers 0 to 3.
static uint8_t *register_bytes(struct emulation *e, unsigned number, unsigned width) {
    bool second = width == 1 && !e->rex && number >= 4;
    return (uint8_t *)general_register(e, second ? number - 4 : number) + second;
}

static uint64_t get_register(struct emulation *e, unsigned number, unsigned width) {
    uint64_t value = 0;
    memcpy(&value, register_bytes(e, number, width), width);
    return value;
}

// Writing 4 bytes clears the upper 4; writing 1 or 2 leaves the rest alone.
static void set_register(struct emulation *e, unsigned number, unsigned width, uint64_t value) {
    if (width == 4) {
        value = (uint32_t)value;
        width = 8;
    }
    memcpy(register_bytes(e, number, width), &value, width);
}

static uint64_t flags(const struct emulation *e) { return (uint64_t)e->registers[REG_EFL]; }

static void set_flags(struct emulation *e, uint64_t which, uint64_t value) {
    e->registers[REG_EFL] = (greg_t)((flags(e) & ~which) | (value & which));
}

static uint64_t get(struct emulation *e) { return decode_read(&e->memory, e->address, e->width); }

static void put(struct emulation *e, uint64_t value) { decode_write(&e->memory, e->address, e->width, value); }

// Arithmetic

static uint64_t truncated(uint64_t value, unsigned width) {
    return width == 8 ? value : value & ((UINT64_C(1) << 8 * width) - 1);
}

static uint64_t sign_extended(uint64_t value, unsigned width) {
    unsigned unused = 64 - 8 * width;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

static bool bit(uint64_t value, unsigned number) { return value >> number & 1; }

// The three flags that only depend on the result. PF looks at its lowest byte, whatever the width.
static uint64_t result_flags(uint64_t result, unsigned width) {
    result = truncated(result, width);
    return (result == 0 ? ZF : 0) | (bit(result, 8 * width - 1) ? SF : 0) |
           (__builtin_parityll(result & 0xff) ? 0 : PF);
}

// One of the eight operations of the opcodes 00 to 3f, at the width of the memory operand; sets the flags.
static uint64_t calculate(struct emulation *e, unsigned operation, uint64_t a, uint64_t b) {
    uint64_t carry = flags(e) & CF, result = 0, carries = 0;
    unsigned top = 8 * e->width - 1;
    switch (operation) {
    case ADD:
    case ADC:
        result = a + b + (operation == ADC ? carry : 0);
        carries = (a & b) | ((a | b) & ~result);
        break;
    case SUB:
    case SBB:
    case CMP:
        result = a - b - (operation == SBB ? carry : 0);
        carries = (~a & b) | ((~a | b) & result);
        break;
    case OR: result = a | b; break;
    case AND: result = a & b; break;
    case XOR: result = a ^ b; break;
    }
    // Bit n of carries: the addition carried, or the subtraction borrowed, out of bit n. A signed result has
    // overflowed if the carry into the sign bit differs from the one out of it.
    set_flags(e, CF | PF | AF | ZF | SF | OF,
              result_flags(result, e->width) | (bit(carries, top) ? CF : 0) | (bit(carries, 3) ? AF : 0) |
                  (bit(carries, top) != bit(carries, top - 1) ? OF : 0));
    return result;
}

// The sixteen conditions of jcc, setcc and cmovcc: eight, and their opposites.
static bool condition(struct emulation *e) {
    uint64_t f = flags(e);
    bool less = !(f & SF) != !(f & OF);
    const bool holds[8] = {f & OF, f & CF, f & ZF, f & (CF | ZF), f & SF, f & PF, less, less || (f & ZF)};
    return holds[e->opcode >> 1 & 7] != (e->opcode & 1);
}

// Actions on general registers

static uint64_t source(struct emulation *e) { return get_register(e, e->reg, e->width); }

static void store(struct emulation *e) { put(e, source(e)); }
static void store_immediate(struct emulation *e) { put(e, e->immediate); }
static void load(struct emulation *e) { set_register(e, e->reg, e->width, get(e)); }
static void load_zero_extended(struct emulation *e) { set_register(e, e->reg, e->operand_width, get(e)); }

static void load_sign_extended(struct emulation *e) {
    set_register(e, e->reg, e->operand_width, sign_extended(get(e), e->width));
}

static uint64_t swapped(struct emulation *e, uint64_t value) {
    return __builtin_bswap64(value) >> (64 - 8 * e->width);
}

static void store_swapped(struct emulation *e) { put(e, swapped(e, source(e))); }
static void load_swapped(struct emulation *e) { set_register(e, e->reg, e->width, swapped(e, get(e))); }

static void load_if(struct emulation *e) {
    // The load happens, and clears the upper half of a 32-bit destination, even if the condition is false.
    uint64_t value = get(e);
    set_register(e, e->reg, e->width, condition(e) ? value : source(e));
}

static void store_condition(struct emulation *e) { put(e, condition(e)); }

static void calculate_into(struct emulation *e, unsigned operation, uint64_t operand) {
    uint64_t result = calculate(e, operation, get(e), operand);
    if (operation != CMP) put(e, result);
}

static void calculate_memory(struct emulation *e) { calculate_into(e, e->opcode >> 3, source(e)); }
static void calculate_immediate(struct emulation *e) { calculate_into(e, e->digit, e->immediate); }

static void calculate_register(struct emulation *e) {
    unsigned operation = e->opcode >> 3;
    uint64_t result = calculate(e, operation, source(e), get(e));
    if (operation != CMP) set_register(e, e->reg, e->width, result);
}

static void test(struct emulation *e) { calculate(e, AND, get(e), source(e)); }
static void test_immediate(struct emulation *e) { calculate(e, AND, get(e), e->immediate); }
static void invert(struct emulation *e) { put(e, ~get(e)); }
static void negate(struct emulation *e) { put(e, calculate(e, SUB, 0, get(e))); }

static void increment_or_decrement(struct emulation *e) {
    uint64_t carry = flags(e);  // inc and dec leave CF alone
    put(e, calculate(e, e->digit == 0 ? ADD : SUB, get(e), 1));
    set_flags(e, CF, carry);
}

static void exchange(struct emulation *e) {
    uint64_t old = get(e);
    put(e, source(e));
    set_register(e, e->reg, e->width, old);
}

static void exchange_add(struct emulation *e) {
    uint64_t old = get(e);
    put(e, calculate(e, ADD, old, source(e)));
    set_register(e, e->reg, e->width, old);
}

static void compare_exchange(struct emulation *e) {
    uint64_t old = get(e);
    calculate(e, CMP, get_register(e, RAX, e->width), old);
    if (flags(e) & ZF)
        put(e, source(e));
    else
        set_register(e, RAX, e->width, old);
}

// Shifts and rotations leave all flags alone if the count is 0, and rotations all but CF and OF in any case.
static void shift(struct emulation *e) {
    unsigned bits = 8 * e->width, count = e->immediate & (e->width == 8 ? 63 : 31), turn = count % bits;
    uint64_t value = get(e), result = value;
    bool carry = false, rotates = e->digit <= ROR;
    if (count == 0) {
        put(e, value);
        return;
    }
    switch (e->digit) {
    case ROL:
        result = truncated(turn ? value << turn | value >> (bits - turn) : value, e->width);
        carry = bit(result, 0);
        break;
    case ROR:
        result = truncated(turn ? value >> turn | value << (bits - turn) : value, e->width);
        carry = bit(result, bits - 1);
        break;
    case SHL:
    case SAL:
        result = truncated(value << count, e->width);
        carry = count <= bits && bit(value, bits - count);
        break;
    case SHR:
        result = value >> count;
        carry = bit(value, count - 1);
        break;
    case SAR:
        value = sign_extended(value, e->width);
        result = (uint64_t)((int64_t)value >> count);
        carry = bit(value, count - 1);
        break;
    }
    // OF is defined for a count of 1 only: the sign bit changed, or for sal and rol it differs from CF.
    set_flags(e, CF | OF | (rotates ? 0 : ZF | SF | PF | AF),
              (carry ? CF : 0) | (bit(result ^ value, bits - 1) ? OF : 0) | result_flags(result, e->width));
    put(e, result);
}

// bt, bts, btr, btc: CF is the old bit. A bit number in a register has already moved the address, see decode().
static void bit_test(struct emulation *e) {
    bool immediate = e->opcode == 0xba;
    unsigned operation = (immediate ? e->digit : e->opcode >> 3) & 3;
    uint64_t value = get(e), number = immediate ? e->immediate : source(e);
    uint64_t one = UINT64_C(1) << (number % (8 * e->width));
    const uint64_t results[4] = {value, value | one, value & ~one, value ^ one};
    set_flags(e, CF, value & one ? CF : 0);
    if (operation != 0) put(e, results[operation]);
}

static void multiply(struct emulation *e) {
    uint64_t factor = e->form->shape == MODRM ? source(e) : e->immediate;
    __int128 a = (int64_t)sign_extended(get(e), e->width), b = (int64_t)sign_extended(factor, e->width);
    __int128 product = a * b;
    uint64_t result = sign_extended((uint64_t)product, e->width);
    set_flags(e, CF | OF, product == (int64_t)result ? 0 : CF | OF);
    set_register(e, e->reg, e->width, result);
}

static void push(struct emulation *e) {
    uint64_t value = get(e), rsp = get_register(e, RSP, 8) - e->width;
    set_register(e, RSP, 8, rsp);
    decode_write(&e->memory, rsp, e->width, value);
}

static void pop(struct emulation *e) {
    uint64_t rsp = get_register(e, RSP, 8);
    put(e, decode_read(&e->memory, rsp, e->width));
    set_register(e, RSP, 8, rsp + e->width);
}

static bool is_movs(const struct emulation *e) { return (e->opcode & 0xfe) == 0xa4; }

// One step of movs or stos. If a repeated one is not finished, it is its own next instruction.
static void string_step(struct emulation *e) {
    unsigned address_width = e->address32 ? 4 : 8;
    uint64_t step = flags(e) & DF ? 0 - (uint64_t)e->width : e->width;
    uint64_t from = get_register(e, RSI, address_width), to = get_register(e, RDI, address_width);
    uint64_t value = is_movs(e) ? decode_read(&e->memory, from, e->width) : get_register(e, RAX, e->width);
    decode_write(&e->memory, to, e->width, value);
    if (is_movs(e)) set_register(e, RSI, address_width, from + step);
    set_register(e, RDI, address_width, to + step);
    if (!e->repeat) return;
    uint64_t left = get_register(e, RCX, address_width) - 1;
    set_register(e, RCX, address_width, left);
    if (truncated(left, address_width) != 0) e->next = e->start;
}

// popcnt, tzcnt, lzcnt, and the older bsf and bsr, which leave their destination alone if no bit is set.
static void count_bits(struct emulation *e) {
    uint64_t value = get(e);
    unsigned bits = 8 * e->width, lowest = bits, leading = bits;
    if (value != 0) {
        lowest = (unsigned)__builtin_ctzll(value);
        leading = (unsigned)__builtin_clzll(value) - (64 - bits);
    }
    if (e->prefix != PF3) {
        set_flags(e, ZF, value == 0 ? ZF : 0);
        if (value != 0) set_register(e, e->reg, e->width, e->opcode == 0xbc ? lowest : bits - 1 - leading);
    } else if (e->opcode == 0xb8) {
        set_flags(e, CF | PF | AF | ZF | SF | OF, value == 0 ? ZF : 0);
        set_register(e, e->reg, e->width, (unsigned)__builtin_popcountll(value));
    } else {
        unsigned count = e->opcode == 0xbc ? lowest : leading;
        set_flags(e, CF | ZF, (value == 0 ? CF : 0) | (count == 0 ? ZF : 0));
        set_register(e, e->reg, e->width, count);
    }
}

// The three-operand instructions of BMI, which compilers use freely where the processor has them.

static void set_bmi(struct emulation *e, unsigned number, uint64_t result, bool carry) {
    set_flags(e, CF | ZF | SF | OF, (result_flags(result, e->width) & (ZF | SF)) | (carry ? CF : 0));
    set_register(e, number, e->width, result);
}

static void and_not(struct emulation *e) { set_bmi(e, e->reg, ~get_register(e, e->vvvv, e->width) & get(e), false); }

// blsr, blsmsk, blsi: what lies below the lowest bit set
static void lowest_bit(struct emulation *e) {
    uint64_t value = get(e);
    const uint64_t results[4] = {0, value & (value - 1), value ^ (value - 1), value & -value};
    set_bmi(e, e->vvvv, results[e->digit], (value == 0) != (e->digit == 3));
}

static uint64_t low_bits(uint64_t value, unsigned count) {
    return count < 64 ? value & ((UINT64_C(1) << count) - 1) : value;
}

static void bit_extract(struct emulation *e) {
    uint64_t control = get_register(e, e->vvvv, e->width), value = get(e);
    unsigned first = control & 0xff, count = control >> 8 & 0xff;
    set_bmi(e, e->reg, first < 64 ? low_bits(value >> first, count) : 0, false);
}

static void zero_high_bits(struct emulation *e) {
    unsigned first = get_register(e, e->vvvv, e->width) & 0xff;
    set_bmi(e, e->reg, low_bits(get(e), first), first >= 8 * e->width);
}

// shlx, sarx, shrx and rorx touch no flag.
static void shift_register(struct emulation *e) {
    unsigned bits = 8 * e->width;
    uint64_t value = get(e), result;
    unsigned count = (e->map == M_0F3A ? e->immediate : get_register(e, e->vvvv, e->width)) & (bits - 1);
    if (e->map == M_0F3A)
        result = count ? value >> count | value << (bits - count) : value;
    else if (e->prefix == P66)
        result = value << count;
    else if (e->prefix == PF3)
        result = (uint64_t)((int64_t)sign_extended(value, e->width) >> count);
    else
        result = value >> count;
    set_register(e, e->reg, e->width, result);
}

// Vector registers
//
// The kernel saves them in the standard format of XSAVE: the FXSAVE area of 512 bytes, whose bytes 464 on say how
// much more there is, a header whose first word has a bit for each component that is in use, and the components,
// at offsets that differ between processors. A component not in use is zero, whatever the bytes say.

enum { SSE = 1, AVX = 2, AVX512_MASKS = 5, AVX512_HIGH = 6, AVX512_EXTRA = 7 };

static uint64_t word64(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static bool has_component(const struct emulation *e, unsigned number) {
    uint32_t magic;
    memcpy(&magic, e->fp + 464, sizeof magic);
    return magic == 0x46505853 && word64(e->fp + 472) >> number & 1;
}

// CPUID traps to the hypervisor in a virtual machine, which costs more than all the rest: ask once.
static unsigned component_offset(unsigned number) {
    static unsigned known[AVX512_EXTRA + 1];
    unsigned offset = __atomic_load_n(&known[number], __ATOMIC_RELAXED), size, c, d;
    if (offset == 0) {
        __cpuid_count(0xd, number, size, offset, c, d);
        __atomic_store_n(&known[number], offset, __ATOMIC_RELAXED);
    }
    return offset;
}

// Marks the component as in use, because the caller may write it.
static uint8_t *component(struct emulation *e, unsigned number, unsigned size) {
    if (number == SSE && !has_component(e, SSE))
        return e->fp + 160;  // no XSAVE here: all there is are the registers in the FXSAVE area
    if (!has_component(e, number)) return NULL;
    uint8_t *bytes = e->fp + (number == SSE ? 160 : component_offset(number));
    uint64_t in_use = word64(e->fp + 512);
    if (!bit(in_use, number)) {
        memset(bytes, 0, size);
        in_use |= UINT64_C(1) << number;
        memcpy(e->fp + 512, &in_use, sizeof in_use);
    }
    return bytes;
}

static bool find_vector_registers(struct emulation *e) {
    if (e->fp == NULL || (e->encoding != LEGACY && !has_component(e, AVX)) ||
        (e->encoding == EVEX && !has_component(e, AVX512_EXTRA)))
        return false;
    e->low = component(e, SSE, 16 * 16);
    e->middle = component(e, AVX, 16 * 16);
    e->high = component(e, AVX512_HIGH, 16 * 32);
    e->extra = component(e, AVX512_EXTRA, 16 * 64);
    e->masks = component(e, AVX512_MASKS, 8 * 8);
    return true;
}

static void get_vector(const struct emulation *e, unsigned number, uint8_t bytes[64]) {
    memset(bytes, 0, 64);
    if (number >= 16) {
        memcpy(bytes, e->extra + 64 * (number - 16), 64);
        return;
    }
    memcpy(bytes, e->low + 16 * number, 16);
    if (e->middle != NULL) memcpy(bytes + 16, e->middle + 16 * number, 16);
    if (e->high != NULL) memcpy(bytes + 32, e->high + 32 * number, 32);
}

// SSE leaves what lies above its 16 bytes alone; VEX and EVEX clear what lies above the vector length.
static void set_vector(struct emulation *e, uint8_t bytes[64]) {
    memset(bytes + e->vector_width, 0, 64 - e->vector_width);
    if (e->reg >= 16) {
        memcpy(e->extra + 64 * (e->reg - 16), bytes, 64);
        return;
    }
    memcpy(e->low + 16 * e->reg, bytes, 16);
    if (e->encoding == LEGACY) return;
    if (e->middle != NULL) memcpy(e->middle + 16 * e->reg, bytes + 16, 16);
    if (e->high != NULL) memcpy(e->high + 32 * e->reg, bytes + 32, 32);
}

static unsigned element_width(const struct emulation *e) {
    if (e->prefix == PF2) return e->w ? 2 : 1;
    return e->w ? 8 : 4;
}

// Only the elements whose bits are set in the mask touch memory, one by one.
static void move_elements(struct emulation *e, uint8_t bytes[64],
                          void (*move)(const struct decode_memory *, uintptr_t, uint8_t *, unsigned)) {
    unsigned width = element_width(e);
    uint64_t chosen = word64(e->masks + 8 * e->mask);
    for (unsigned at = 0; at < e->vector_width; at += width, chosen >>= 1)
        if (chosen & 1) move(&e->memory, e->address + at, bytes + at, width);
}

static void vector_load(struct emulation *e) {
    uint8_t bytes[64] = {0};
    if (e->mask == 0) {
        decode_read_bytes(&e->memory, e->address, bytes, e->width);
    } else {
        if (!e->zeroing) get_vector(e, e->reg, bytes);
        move_elements(e, bytes, decode_read_bytes);
    }
    set_vector(e, bytes);
}

// The register is an array of lanes as wide as the memory operand. One of them is stored.
static void store_lane(struct emulation *e, unsigned lane) {
    uint8_t bytes[64];
    get_vector(e, e->reg, bytes);
    decode_write_bytes(&e->memory, e->address, bytes + e->width * lane, e->width);
}

static void vector_store(struct emulation *e) {
    uint8_t bytes[64];
    if (e->mask == 0) {
        store_lane(e, 0);
        return;
    }
    get_vector(e, e->reg, bytes);
    move_elements(e, bytes, decode_write_bytes);
}

// One lane is loaded, the others come from the register itself or from the third operand.
static void load_lane(struct emulation *e, unsigned lane) {
    uint8_t bytes[64];
    get_vector(e, e->encoding == LEGACY ? e->reg : e->vvvv, bytes);
    decode_read_bytes(&e->memory, e->address, bytes + e->width * lane, e->width);
    set_vector(e, bytes);
}

static unsigned chosen_lane(const struct emulation *e) { return e->immediate & (e->vector_width / e->width - 1); }

static void store_high_half(struct emulation *e) { store_lane(e, 1); }
static void load_low_half(struct emulation *e) { load_lane(e, 0); }
static void load_high_half(struct emulation *e) { load_lane(e, 1); }
static void vector_extract(struct emulation *e) { store_lane(e, chosen_lane(e)); }
static void vector_insert(struct emulation *e) { load_lane(e, chosen_lane(e)); }

static void vector_broadcast(struct emulation *e) {
    uint8_t bytes[64];
    decode_read_bytes(&e->memory, e->address, bytes, e->width);
    for (unsigned i = e->width; i < e->vector_width; i++) bytes[i] = bytes[i - e->width];
    set_vector(e, bytes);
}

// The tables. The first matching row counts.

// clang-format off
static const struct form general_forms[] = {
    // map   opcode mask digit prefixes encodings width    shape       action
    {ONE,    0x88, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      store},                // mov
    {ONE,    0x8a, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      load},
    {ONE,    0xc6, 0xfe, 0, ANY, LEGACY, BY_OPCODE, MODRM_IMM,  store_immediate},
    {ONE,    0xa0, 0xfe, R, ANY, LEGACY, BY_OPCODE, OFFSET,     load},
    {ONE,    0xa2, 0xfe, R, ANY, LEGACY, BY_OPCODE, OFFSET,     store},
    {ONE,    0xa4, 0xfe, R, ANY, LEGACY, BY_OPCODE, STRING,     string_step},          // movs
    {ONE,    0xaa, 0xfe, R, ANY, LEGACY, BY_OPCODE, STRING,     string_step},          // stos
    {M_0F,   0xb6, 0xff, R, ANY, LEGACY, 1,         MODRM,      load_zero_extended},   // movzx
    {M_0F,   0xb7, 0xff, R, ANY, LEGACY, 2,         MODRM,      load_zero_extended},
    {M_0F,   0xbe, 0xff, R, ANY, LEGACY, 1,         MODRM,      load_sign_extended},   // movsx, movsxd
    {M_0F,   0xbf, 0xff, R, ANY, LEGACY, 2,         MODRM,      load_sign_extended},
    {ONE,    0x63, 0xff, R, ANY, LEGACY, 4,         MODRM,      load_sign_extended},
    {M_0F,   0xc3, 0xff, R, NP,  LEGACY, WIDE,      MODRM,      store},                // movnti
    {M_0F38, 0xf0, 0xff, R, INT, LEGACY, OPERAND,   MODRM,      load_swapped},         // movbe
    {M_0F38, 0xf1, 0xff, R, INT, LEGACY, OPERAND,   MODRM,      store_swapped},
    {M_0F,   0x40, 0xf0, R, ANY, LEGACY, OPERAND,   MODRM,      load_if},              // cmov
    {M_0F,   0x90, 0xf0, R, ANY, LEGACY, 1,         MODRM,      store_condition},      // setcc
    {ONE,    0xff, 0xff, 6, ANY, LEGACY, STACK,     MODRM,      push},
    {ONE,    0x8f, 0xff, 0, ANY, LEGACY, STACK,     MODRM,      pop},

    {ONE,    0x00, 0xc6, R, ANY, LEGACY, BY_OPCODE, MODRM,      calculate_memory},     // add or adc sbb
    {ONE,    0x02, 0xc6, R, ANY, LEGACY, BY_OPCODE, MODRM,      calculate_register},   // and sub xor cmp
    {ONE,    0x80, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM_IMM,  calculate_immediate},
    {ONE,    0x83, 0xff, R, ANY, LEGACY, OPERAND,   MODRM_IMM8, calculate_immediate},
    {ONE,    0x84, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      test},
    {ONE,    0xf6, 0xfe, 0, ANY, LEGACY, BY_OPCODE, MODRM_IMM,  test_immediate},
    {ONE,    0xf6, 0xfe, 2, ANY, LEGACY, BY_OPCODE, MODRM,      invert},               // not
    {ONE,    0xf6, 0xfe, 3, ANY, LEGACY, BY_OPCODE, MODRM,      negate},               // neg
    {ONE,    0xfe, 0xfe, 0, ANY, LEGACY, BY_OPCODE, MODRM,      increment_or_decrement},
    {ONE,    0xfe, 0xfe, 1, ANY, LEGACY, BY_OPCODE, MODRM,      increment_or_decrement},
    {M_0F,   0xaf, 0xff, R, ANY, LEGACY, OPERAND,   MODRM,      multiply},             // imul
    {ONE,    0x69, 0xff, R, ANY, LEGACY, OPERAND,   MODRM_IMM,  multiply},
    {ONE,    0x6b, 0xff, R, ANY, LEGACY, OPERAND,   MODRM_IMM8, multiply},

    {ONE,    0x86, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      exchange},             // xchg
    {M_0F,   0xc0, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      exchange_add},         // xadd
    {M_0F,   0xb0, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM,      compare_exchange},     // cmpxchg

    {ONE,    0xc0, 0xec, 2, ANY, LEGACY, BY_OPCODE, MODRM,      NULL},                 // rcl and rcr: refused,
    {ONE,    0xc0, 0xec, 3, ANY, LEGACY, BY_OPCODE, MODRM,      NULL},                 // no compiler emits them
    {ONE,    0xc0, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM_IMM8, shift},                // rol ror shl shr sar
    {ONE,    0xd0, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM_ONE,  shift},
    {ONE,    0xd2, 0xfe, R, ANY, LEGACY, BY_OPCODE, MODRM_CL,   shift},
    {M_0F,   0xa3, 0xe7, R, ANY, LEGACY, OPERAND,   MODRM_BIT,  bit_test},             // bt bts btr btc
    {M_0F,   0xba, 0xff, 4, ANY, LEGACY, OPERAND,   MODRM_IMM8, bit_test},
    {M_0F,   0xba, 0xff, 5, ANY, LEGACY, OPERAND,   MODRM_IMM8, bit_test},
    {M_0F,   0xba, 0xff, 6, ANY, LEGACY, OPERAND,   MODRM_IMM8, bit_test},
    {M_0F,   0xba, 0xff, 7, ANY, LEGACY, OPERAND,   MODRM_IMM8, bit_test},
    {M_0F,   0xb8, 0xff, R, PF3, LEGACY, OPERAND,   MODRM,      count_bits},           // popcnt
    {M_0F,   0xbc, 0xfe, R, ANY, LEGACY, OPERAND,   MODRM,      count_bits},           // bsf bsr tzcnt lzcnt

    {M_0F38, 0xf2, 0xff, R, NP,  VEX,    WIDE,      MODRM,      and_not},              // andn
    {M_0F38, 0xf3, 0xff, 1, NP,  VEX,    WIDE,      MODRM,      lowest_bit},           // blsr
    {M_0F38, 0xf3, 0xff, 2, NP,  VEX,    WIDE,      MODRM,      lowest_bit},           // blsmsk
    {M_0F38, 0xf3, 0xff, 3, NP,  VEX,    WIDE,      MODRM,      lowest_bit},           // blsi
    {M_0F38, 0xf5, 0xff, R, NP,  VEX,    WIDE,      MODRM,      zero_high_bits},       // bzhi
    {M_0F38, 0xf7, 0xff, R, NP,  VEX,    WIDE,      MODRM,      bit_extract},          // bextr
    {M_0F38, 0xf7, 0xff, R, ANY, VEX,    WIDE,      MODRM,      shift_register},       // shlx sarx shrx
    {M_0F3A, 0xf0, 0xff, R, PF2, VEX,    WIDE,      MODRM_IMM8, shift_register},       // rorx
};

enum { SIMD = LEGACY | VEX | EVEX, AVXS = VEX | EVEX };

static const struct form vector_forms[] = {
    // map   opcode mask digit prefixes encodings width   shape       action
    {M_0F,   0x10, 0xff, R, INT,       SIMD, VECTOR, MODRM,      vector_load},         // movups, movupd
    {M_0F,   0x11, 0xff, R, INT,       SIMD, VECTOR, MODRM,      vector_store},
    {M_0F,   0x10, 0xff, R, PF3,       SIMD, 4,      MODRM,      vector_load},         // movss
    {M_0F,   0x11, 0xff, R, PF3,       SIMD, 4,      MODRM,      vector_store},
    {M_0F,   0x10, 0xff, R, PF2,       SIMD, 8,      MODRM,      vector_load},         // movsd
    {M_0F,   0x11, 0xff, R, PF2,       SIMD, 8,      MODRM,      vector_store},
    {M_0F,   0x12, 0xff, R, INT,       SIMD, 8,      MODRM,      load_low_half},       // movlps, movlpd
    {M_0F,   0x13, 0xff, R, INT,       SIMD, 8,      MODRM,      vector_store},
    {M_0F,   0x16, 0xff, R, INT,       SIMD, 8,      MODRM,      load_high_half},      // movhps, movhpd
    {M_0F,   0x17, 0xff, R, INT,       SIMD, 8,      MODRM,      store_high_half},
    {M_0F,   0x28, 0xff, R, INT,       SIMD, VECTOR, MODRM,      vector_load},         // movaps, movapd
    {M_0F,   0x29, 0xff, R, INT,       SIMD, VECTOR, MODRM,      vector_store},
    {M_0F,   0x2b, 0xff, R, INT,       SIMD, VECTOR, MODRM,      vector_store},        // movntps, movntpd
    {M_0F,   0x6e, 0xff, R, P66,       SIMD, WIDE,   MODRM,      vector_load},         // movd, movq
    {M_0F,   0x7e, 0xff, R, P66,       SIMD, WIDE,   MODRM,      vector_store},
    {M_0F,   0x7e, 0xff, R, PF3,       SIMD, 8,      MODRM,      vector_load},         // movq
    {M_0F,   0xd6, 0xff, R, P66,       SIMD, 8,      MODRM,      vector_store},
    {M_0F,   0x6f, 0xff, R, P66 | PF3, SIMD, VECTOR, MODRM,      vector_load},         // movdqa, movdqu
    {M_0F,   0x7f, 0xff, R, P66 | PF3, SIMD, VECTOR, MODRM,      vector_store},
    {M_0F,   0x6f, 0xff, R, PF2,       EVEX, VECTOR, MODRM,      vector_load},         // vmovdqu8, vmovdqu16
    {M_0F,   0x7f, 0xff, R, PF2,       EVEX, VECTOR, MODRM,      vector_store},
    {M_0F,   0xe7, 0xff, R, P66,       SIMD, VECTOR, MODRM,      vector_store},        // movntdq
    {M_0F38, 0x2a, 0xff, R, P66,       SIMD, VECTOR, MODRM,      vector_load},         // movntdqa
    {M_0F,   0xf0, 0xff, R, PF2,       SIMD, VECTOR, MODRM,      vector_load},         // lddqu
    {M_0F,   0xc4, 0xff, R, P66,       SIMD, 2,      MODRM_IMM8, vector_insert},       // pinsrw
    {M_0F3A, 0x20, 0xff, R, P66,       SIMD, 1,      MODRM_IMM8, vector_insert},       // pinsrb
    {M_0F3A, 0x22, 0xff, R, P66,       SIMD, WIDE,   MODRM_IMM8, vector_insert},       // pinsrd, pinsrq
    {M_0F3A, 0x14, 0xff, R, P66,       SIMD, 1,      MODRM_IMM8, vector_extract},      // pextrb
    {M_0F3A, 0x15, 0xff, R, P66,       SIMD, 2,      MODRM_IMM8, vector_extract},      // pextrw
    {M_0F3A, 0x16, 0xff, R, P66,       SIMD, WIDE,   MODRM_IMM8, vector_extract},      // pextrd, pextrq
    {M_0F3A, 0x17, 0xff, R, P66,       SIMD, 4,      MODRM_IMM8, vector_extract},      // extractps
    {M_0F3A, 0x18, 0xdf, R, P66,       AVXS, 16,     MODRM_IMM8, vector_insert},       // vinsertf128, i128
    {M_0F3A, 0x19, 0xdf, R, P66,       AVXS, 16,     MODRM_IMM8, vector_extract},
    {M_0F3A, 0x1a, 0xdf, R, P66,       EVEX, 32,     MODRM_IMM8, vector_insert},       // vinsertf64x4, ...
    {M_0F3A, 0x1b, 0xdf, R, P66,       EVEX, 32,     MODRM_IMM8, vector_extract},
    {M_0F38, 0x78, 0xff, R, P66,       AVXS, 1,      MODRM,      vector_broadcast},    // vpbroadcastb
    {M_0F38, 0x79, 0xff, R, P66,       AVXS, 2,      MODRM,      vector_broadcast},    // vpbroadcastw
    {M_0F38, 0x18, 0xbf, R, P66,       AVXS, 4,      MODRM,      vector_broadcast},    // vbroadcastss, vpb...d
    {M_0F38, 0x19, 0xbf, R, P66,       AVXS, 8,      MODRM,      vector_broadcast},    // vbroadcastsd, vpb...q
    {M_0F38, 0x1a, 0xbf, R, P66,       AVXS, 16,     MODRM,      vector_broadcast},    // vbroadcastf128, i128
};
// clang-format on

// Decoding

static uint64_t take(struct emulation *e, unsigned width) {
    uint64_t value = 0;
    memcpy(&value, e->next, width);
    e->next += width;
    return value;
}

static int64_t take_signed(struct emulation *e, unsigned width) {
    return (int64_t)sign_extended(take(e, width), width);
}

// VEX and EVEX store most of their bits inverted. The byte with W, vvvv and pp is the same in all of them.
static void take_w_vvvv_pp(struct emulation *e, unsigned byte) {
    e->w = byte & 0x80;
    e->vvvv = ~byte >> 3 & 15;
    e->prefix = 1u << (byte & 3);
}

static void take_inverted_rxb(struct emulation *e, unsigned byte) {
    e->r = ~byte >> 4 & 8;
    e->x = ~byte >> 3 & 8;
    e->b = ~byte >> 2 & 8;
}

// Intel SDM 2.3.5. The short form has only R, in the place of W, and stands for map 0f.
static void read_vex(struct emulation *e, bool shorter) {
    unsigned first = (unsigned)take(e, 1), second = first & 0x7f;
    if (shorter)
        first = (first & 0x80) | 0x60 | M_0F;
    else
        second = (unsigned)take(e, 1);
    e->encoding = VEX;
    e->rex = true;  // no ah, ch, dh, bh
    take_inverted_rxb(e, first);
    take_w_vvvv_pp(e, second);
    e->map = first & 0x1f;
    e->vector_width = second & 4 ? 32 : 16;
}

// Intel SDM 2.7. Embedded broadcast is refused: only arithmetic has it.
static bool read_evex(struct emulation *e) {
    unsigned first = (unsigned)take(e, 1), second = (unsigned)take(e, 1), third = (unsigned)take(e, 1);
    e->encoding = EVEX;
    e->rex = true;
    take_inverted_rxb(e, first);
    e->r |= ~first & 0x10;
    take_w_vvvv_pp(e, second);
    e->vvvv |= ~third << 1 & 0x10;
    e->map = first & 7;
    e->vector_width = 16u << (third >> 5 & 3);
    e->mask = third & 7;
    e->zeroing = third & 0x80;
    bool broadcast = third & 0x10;
    return !broadcast && e->vector_width <= 64;
}

static bool read_prefixes(struct emulation *e) {
    bool f2 = false, f3 = false;
    for (;; e->next++) {
        switch (*e->next) {
        case 0x66: e->operand16 = true; continue;
        case 0x67: e->address32 = true; continue;
        case 0xf2:
        case 0xf3:
            f2 = *e->next == 0xf2;
            f3 = !f2;
            continue;
        case 0x64:  // fs, gs
        case 0x65: e->segment = true; continue;
        case 0xf0:  // lock: the device is asked and told in turn anyway
        case 0x26:  // es, cs, ss, ds: without a meaning in 64-bit mode
        case 0x2e:
        case 0x36:
        case 0x3e: continue;
        }
        break;
    }
    e->encoding = LEGACY;
    e->prefix = f3 ? PF3 : f2 ? PF2 : e->operand16 ? P66 : NP;
    e->repeat = f2 || f3;
    e->vector_width = 16;
    unsigned byte = *e->next;
    if ((byte & 0xf0) == 0x40) {
        e->next++;
        e->rex = true;
        e->w = byte & 8;
        e->r = byte << 1 & 8;
        e->x = byte << 2 & 8;
        e->b = byte << 3 & 8;
    } else if (byte == 0xc4 || byte == 0xc5) {
        e->next++;
        read_vex(e, byte == 0xc5);
    } else if (byte == 0x62) {
        e->next++;
        return read_evex(e);
    }
    return true;
}

static void read_opcode(struct emulation *e) {
    e->opcode = (unsigned)take(e, 1);
    if (e->encoding != LEGACY || e->opcode != 0x0f) return;
    e->map = M_0F;
    e->opcode = (unsigned)take(e, 1);
    if (e->opcode != 0x38 && e->opcode != 0x3a) return;
    e->map = e->opcode == 0x38 ? M_0F38 : M_0F3A;
    e->opcode = (unsigned)take(e, 1);
}

static const struct form *search(const struct emulation *e, const struct form *forms, size_t count) {
    for (const struct form *f = forms; f < forms + count; f++)
        if (f->map == e->map && f->opcode == (e->opcode & f->mask) && f->prefixes & e->prefix &&
            f->encodings & e->encoding && (f->digit == R || f->digit == (*e->next >> 3 & 7)))
            return f;
    return NULL;
}

static bool find_form(struct emulation *e) {
    e->form = search(e, general_forms, sizeof general_forms / sizeof(*general_forms));
    if (e->form == NULL) {
        e->form = search(e, vector_forms, sizeof vector_forms / sizeof(*vector_forms));
        if (e->form == NULL || !find_vector_registers(e)) return false;
    }
    e->operand_width = e->w ? 8 : e->operand16 ? 2 : 4;
    switch (e->form->width) {
    case BY_OPCODE: e->width = e->opcode & 1 ? e->operand_width : 1; break;
    case OPERAND: e->width = e->operand_width; break;
    case WIDE: e->width = e->w ? 8 : 4; break;
    case STACK: e->width = e->operand16 ? 2 : 8; break;
    case VECTOR: e->width = e->vector_width; break;
    default: e->width = e->form->width;
    }
    if (e->mask != 0 && e->form->width != VECTOR) return false;
    return e->form->action != NULL;
}

// Intel SDM 2.1.5, tables 2-2 and 2-3. Leaves the address relative to the next instruction if it returns true.
static bool read_modrm(struct emulation *e) {
    unsigned modrm = (unsigned)take(e, 1), mod = modrm >> 6, rm = modrm & 7;
    bool relative = false, no_base = false;
    e->digit = modrm >> 3 & 7;
    e->reg = e->digit | e->r;
    if (rm == 4) {
        unsigned sib = (unsigned)take(e, 1), index = (sib >> 3 & 7) | e->x;
        rm = sib & 7;
        if (index != RSP) e->address = get_register(e, index, 8) << (sib >> 6);
        no_base = mod == 0 && rm == RBP;
    } else {
        relative = mod == 0 && rm == RBP;
    }
    if (no_base || relative)
        e->address += (uintptr_t)take_signed(e, 4);
    else
        e->address += get_register(e, rm | e->b, 8);
    if (mod == 1)  // EVEX counts in memory operands, Intel SDM 2.7.5
        e->address += (uintptr_t)take_signed(e, 1) * (e->encoding == EVEX ? e->width : 1);
    else if (mod == 2)
        e->address += (uintptr_t)take_signed(e, 4);
    return relative;
}

static void read_immediate(struct emulation *e) {
    switch (e->form->shape) {
    case MODRM_IMM8: e->immediate = (uint64_t)take_signed(e, 1); break;
    case MODRM_IMM: e->immediate = (uint64_t)take_signed(e, e->width < 4 ? e->width : 4); break;
    case MODRM_ONE: e->immediate = 1; break;
    case MODRM_CL: e->immediate = get_register(e, RCX, 1); break;
    default: break;
    }
}

static bool decode(struct emulation *e) {
    if (!read_prefixes(e)) return false;
    read_opcode(e);
    if (!find_form(e)) return false;
    if (e->form->shape == STRING) return true;
    if (e->form->shape == OFFSET) {
        e->address = take(e, e->address32 ? 4 : 8);
        return true;
    }
    if (*e->next >= 0xc0)  // both operands are registers: that does not fault
        return false;
    bool relative = read_modrm(e);
    read_immediate(e);
    if (relative) e->address += (uintptr_t)e->next;
    if (e->form->shape == MODRM_BIT) {
        int64_t words = (int64_t)sign_extended(source(e), e->width) >> (e->width == 8 ? 6 : e->width == 4 ? 5 : 4);
        e->address += (uintptr_t)words * e->width;
    }
    if (e->address32) e->address = (uint32_t)e->address;
    if (e->segment) e->address = e->fault_address;  // we do not know the segment's base, the processor did
    return true;
}

static bool explains_fault(const struct emulation *e, uintptr_t address) {
    return e->fault_address - address < e->width;
}

// A last defence against having misread the instruction: it must touch the byte that faulted.
static bool plausible(struct emulation *e) {
    unsigned address_width = e->address32 ? 4 : 8;
    if (e->form->shape != STRING) return explains_fault(e, e->address);
    return explains_fault(e, get_register(e, RDI, address_width)) ||
           (is_movs(e) && explains_fault(e, get_register(e, RSI, address_width)));
}

int decode_and_emulate(void *ucontext, uintptr_t fault_address, uintptr_t region_start, size_t region_size,
                       const struct decode_target *target) {
    mcontext_t *saved = &((ucontext_t *)ucontext)->uc_mcontext;
    struct emulation e = {
        .registers = saved->gregs,
        .fp = (uint8_t *)saved->fpregs,
        .memory = {region_start, region_size, target},
        .fault_address = fault_address,
        .start = (const uint8_t *)saved->gregs[REG_RIP],
    };
    e.next = e.start;
    if (!decode(&e) || !plausible(&e)) return -ENOTSUP;
    e.form->action(&e);
    saved->gregs[REG_RIP] = (greg_t)e.next;
    return 0;
}

// Stops at the end of the page, since nothing says that another one follows.
int decode_describe(const void *ucontext, char *text, size_t size) {
    const mcontext_t *saved = &((const ucontext_t *)ucontext)->uc_mcontext;
    uintptr_t address = (uintptr_t)saved->gregs[REG_RIP];
    unsigned count = 4096 - address % 4096 < 15 ? (unsigned)(4096 - address % 4096) : 15;
    decode_print(text, size, (const uint8_t *)address, count, address);
    return (int)count;
}

#endif
