// test_decode.c: every instruction must do to the device what it does to memory.
//
// Each case runs twice from the same state: once on a page of ordinary memory, and once with that page made
// inaccessible, so that the handler below carries out the instruction with an array in the place of the device.
// Afterwards all registers, flags and bytes must be the same, those beside the operand included. So the processor
// itself says what is right. Cases are single instructions, written in assembly, and functions that the compiler
// turns into whatever it likes today.

#define _GNU_SOURCE
#include "decode.h"
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#endif

// Three pages: the middle one is the device, the others are ordinary memory before and behind it. Some addressing
// modes want an address below 4 GiB that is known when the test is assembled, others one near the code.
// Pages of 64 KiB would be legal on aarch64, so "page" here means that much.
#define PAGE      65536
#define LOW_PAGES 0x20000000
#define HIDDEN    __attribute__((visibility("hidden")))
extern uint8_t near_pages[3 * PAGE] HIDDEN;
uint8_t near_pages[3 * PAGE] __attribute__((aligned(PAGE)));

static uint8_t *pages, *device;  // device is the middle one
static uint8_t registers[PAGE];  // what the device holds
static uint8_t initial[3 * PAGE], expected[3 * PAGE];

// What the handler saw.
static unsigned traps, calls, widest;
static bool lie_about_address;
static int refused;
static unsigned refused_changes, described;
static char refused_text[128], refused_short[8];

static void use_pages(uint8_t *three_pages) {
    pages = three_pages;
    device = pages + PAGE;
}

static void allow_device(bool allowed) {
    if (mprotect(device, PAGE, allowed ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
        perror("mprotect");
        exit(1);
    }
}

static uint64_t read_device(void *context, uintptr_t address, unsigned width) {
    uint64_t value = 0;
    calls++;
    if (width > widest) widest = width;
    memcpy(&value, (uint8_t *)context + (address - (uintptr_t)device), width);
    return value;
}

static void write_device(void *context, uintptr_t address, unsigned width, uint64_t value) {
    calls++;
    if (width > widest) widest = width;
    memcpy((uint8_t *)context + (address - (uintptr_t)device), &value, width);
    if (width < 8 && value >> 8 * width != 0) calls += 1000;  // more than was asked for: no test expects that
}

static void handle_fault(int signal_number, siginfo_t *info, void *ucontext) {
    static const struct decode_target target = {registers, read_device, write_device};
    ucontext_t *context = ucontext;
    mcontext_t before = context->uc_mcontext;
    uintptr_t address = (uintptr_t)info->si_addr;
    if (address - (uintptr_t)device >= PAGE) {
        signal(signal_number, SIG_DFL);  // a bug of the test or of the decoder: die of it
        return;
    }
    traps++;
    refused = decode_and_emulate(context, address + (lie_about_address ? 128 : 0), (uintptr_t)device, PAGE, &target);
    if (refused == 0) return;
    refused_changes = memcmp(&before, &context->uc_mcontext, sizeof before) != 0;
    described = (unsigned)decode_describe(context, refused_text, sizeof refused_text);
    decode_describe(context, refused_short, sizeof refused_short);
    allow_device(true);  // the instruction is tried again, and the test goes on
}

static uint64_t next_random(void) {
    static uint64_t state = 82599;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// Numbers at which carries and signs turn are more interesting than others.
static uint64_t next_value(void) {
    static const uint64_t edges[] = {0,      1,          0x7f,       0x80,       0xff,       0x7fff,
                                     0x8000, 0x7fffffff, 0x80000000, UINT64_MAX, 1ULL << 63, INT64_MAX};
    uint64_t choice = next_random() >> 32;
    return choice % 2 ? edges[choice / 2 % (sizeof edges / sizeof *edges)] : next_random();
}

// Only the bytes around the operands vary: a page is long, and the rest need not be compared each time. A case whose
// stack pointer is the base of the access has its signal frame on the page before, between the two parts used there.
enum { NEAR_EDGE = 64, MIDDLE = 0x800 };
static const struct {
    size_t start, size;
} used[] = {{0, 2 * MIDDLE}, {PAGE - NEAR_EDGE, NEAR_EDGE + 2 * MIDDLE}, {2 * PAGE - NEAR_EDGE, 2 * NEAR_EDGE}};
#define FOR_USED(i) for (size_t i = 0; i < sizeof used / sizeof *used; i++)

static void fill_pages(void) {
    FOR_USED(i) {
        for (size_t at = 0; at < used[i].size; at += 8) {
            uint64_t value = next_value();
            memcpy(initial + used[i].start + at, &value, 8);
        }
    }
    FOR_USED(i) memcpy(pages + used[i].start, initial + used[i].start, used[i].size);
}

static void finish_plain_run(void) {
    FOR_USED(i) memcpy(expected + used[i].start, pages + used[i].start, used[i].size);
    FOR_USED(i) memcpy(pages + used[i].start, initial + used[i].start, used[i].size);
    memcpy(registers, initial + PAGE, PAGE);
    allow_device(false);
    traps = calls = widest = 0;
    refused = 0;
}

static void compare(const char *name, const char *what, const void *actual, const void *right, size_t size) {
    const uint8_t *a = actual, *b = right;
    size_t at = 0;
    while (at < size && a[at] == b[at]) at++;
    if (at < size) printf("%s: %s, byte %zu of %zu\n", name, what, at, size);
    CHECK_EQ(at < size ? a[at] : 0, at < size ? b[at] : 0);
}

// What the device holds is put where an ordinary run would have left it, to be compared with that.
static void finish_device_run(const char *name) {
    allow_device(true);
    if (refused) printf("%s: refused %s\n", name, refused_text);
    CHECK_EQ(refused, 0);
    if (traps == 0) printf("%s: did not trap\n", name);
    CHECK(traps > 0 && calls > 0 && calls < 10000);
    memcpy(device, registers, PAGE);
    FOR_USED(i) compare(name, "memory", pages + used[i].start, expected + used[i].start, used[i].size);
}

// Single instructions

// What an instruction can see of the processor. How the general registers are numbered is up to the assembly below.
struct state {
    uint64_t general[32];
    uint8_t vector[32][64];
};

// One row for each TRY below. The detail is which flags the architecture leaves undefined after the instruction; or,
// if it is one that the decoder must refuse, its first bytes.
struct instruction {
    const char *text;
    void (*code)(void);
    uint64_t needs, detail;
};

extern const struct instruction first_instruction[] HIDDEN, first_near_instruction[] HIDDEN,
    last_instruction[] HIDDEN;
extern const struct instruction refused_instruction[] HIDDEN, last_refused[] HIDDEN;
void run_state(struct state *state, void (*code)(void), unsigned level) HIDDEN;

// The lists below are tables.
// clang-format off

// Emits the instruction, its text and the row. The rows gather in a section of their own, in order.
#define STRING(x) #x
#define ROW(needs, detail, text)                                                                                 \
    ".pushsection .rodata\n 991: .asciz \"" text "\"\n .popsection\n"                                               \
    ".pushsection .text\n 992: " text RETURN ".popsection\n"                                                        \
    ".pushsection .data.rel.ro, \"aw\"\n .quad 991b, 992b, " STRING(needs) ", " STRING(detail) "\n .popsection\n"
#define LABEL(name)                                                                                                 \
    ".pushsection .data.rel.ro, \"aw\"\n .balign 8\n .globl " #name "\n .hidden " #name "\n" #name ":\n .popsection\n"
#define TRY(text) ROW(0, 0, text)

#if defined(__x86_64__)

enum { FLAGS = 16, STATUS = 0x8d5 };
#define RETURN "\n ret\n"

// Level 0 is what all x86-64 processors have been since 2010; 1 adds AVX2, BMI and movbe; 2 adds AVX-512.
static unsigned processor_level(void) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("bmi"))
        return 0;
    if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq"))
        return 1;
    return 2;
}

__asm__(".text\n .globl run_state\n .hidden run_state\n"
        "run_state:\n"
        " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " push %rdx\n push %rdi\n push %rsi\n"
        " cmp $1, %edx\n ja 2f\n je 1f\n"
        " .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movups 256+64*\\k(%rdi), %xmm\\k\n .endr\n jmp 3f\n"
        "1: .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups 256+64*\\k(%rdi), %ymm\\k\n .endr\n jmp 3f\n"
        "2: .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "  vmovups 256+64*\\k(%rdi), %zmm\\k\n .endr\n"
        "3: pushq 128(%rdi)\n popfq\n"
        " mov 0(%rdi), %rax\n mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %rbx\n mov 40(%rdi), %rbp\n"
        " mov 48(%rdi), %rsi\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n"
        " mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n"
        " mov 56(%rdi), %rdi\n"
        " call *(%rsp)\n"
        " pushfq\n push %rdi\n mov 24(%rsp), %rdi\n"
        " mov %rax, 0(%rdi)\n mov %rcx, 8(%rdi)\n mov %rdx, 16(%rdi)\n mov %rbx, 24(%rdi)\n mov %rbp, 40(%rdi)\n"
        " mov %rsi, 48(%rdi)\n mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n"
        " mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
        " pop 56(%rdi)\n pop 128(%rdi)\n cld\n"
        " mov 16(%rsp), %rdx\n cmp $1, %edx\n ja 2f\n je 1f\n"
        " .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movups %xmm\\k, 256+64*\\k(%rdi)\n .endr\n jmp 3f\n"
        "1: .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups %ymm\\k, 256+64*\\k(%rdi)\n .endr\n"
        " vzeroupper\n jmp 3f\n"
        "2: .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "  vmovups %zmm\\k, 256+64*\\k(%rdi)\n .endr\n vzeroupper\n"
        "3: add $24, %rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

// rdi, rbp, r12 and r13 lead to the device, rsi to the page before, r14 and r15 are indices.
static void fill_state(struct state *state) {
    for (unsigned i = 0; i < 16; i++) state->general[i] = next_value();
    state->general[5] = state->general[7] = state->general[12] = state->general[13] = (uintptr_t)device + MIDDLE;
    state->general[6] = (uintptr_t)pages + MIDDLE;
    state->general[14] = 8;
    state->general[15] = (uint64_t)-16;
    state->general[FLAGS] = 0x202 | (next_random() & STATUS);
}

static void hide_undefined(struct state *state, uint64_t undefined_flags) {
    state->general[FLAGS] &= (STATUS | 0x400) & ~undefined_flags;
}

#define TRY_V3(text) ROW(1, 0, text)
#define TRY_V4(text) ROW(2, 0, text)
#define TRY_LOOSE(undefined, text) ROW(0, undefined, text)  // 1 CF, 4 PF, 0x10 AF, 0x40 ZF, 0x80 SF, 0x800 OF
#define SIZES(op, undefined) /* with a register */                                                                  \
    TRY_LOOSE(undefined, op " %cl, (%rdi)") TRY_LOOSE(undefined, op " %bh, 1(%rdi)")                                \
    TRY_LOOSE(undefined, op " %dx, (%rdi)") TRY_LOOSE(undefined, op " %r8d, (%rdi)")                                \
    TRY_LOOSE(undefined, op " %rax, (%rdi)") TRY_LOOSE(undefined, "lock; " op " %r9, -8(%rdi)")
#define PLAIN_SIZES(op) /* where there is no lock */                                                                \
    TRY(op " %cl, (%rdi)") TRY(op " %bh, 1(%rdi)") TRY(op " %sil, 1(%rdi)") TRY(op " %dx, (%rdi)")                  \
    TRY(op " %r8d, (%rdi)") TRY(op " %rax, (%rdi)")
#define ALU_LOADS(op, undefined)                                                                                    \
    TRY_LOOSE(undefined, op " (%rdi), %ah") TRY_LOOSE(undefined, op " (%rdi), %r11b")                               \
    TRY_LOOSE(undefined, op " 3(%rdi), %cx") TRY_LOOSE(undefined, op " (%rdi), %edx")                               \
    TRY_LOOSE(undefined, op " (%rdi), %r10")
#define ALU_IMMEDIATES(op, undefined)                                                                               \
    TRY_LOOSE(undefined, op "b $0x81, (%rdi)") TRY_LOOSE(undefined, op "w $-3, (%rdi)")                             \
    TRY_LOOSE(undefined, op "w $0x1234, (%rdi)") TRY_LOOSE(undefined, op "l $-1, (%rdi)")                           \
    TRY_LOOSE(undefined, op "l $0x89abcdef, (%rdi)") TRY_LOOSE(undefined, op "q $1, (%rdi)")                        \
    TRY_LOOSE(undefined, op "q $-0x12345678, (%rdi)")
#define ALU(op, undefined)                                                                                          \
    PLAIN_SIZES(op) ALU_LOADS(op, undefined) ALU_IMMEDIATES(op, undefined)
#define UNARY(op)                                                                                                   \
    TRY(op "b (%rdi)") TRY(op "w (%rdi)") TRY(op "l (%rdi)") TRY(op "q (%rdi)") TRY("lock; " op "l 4(%rdi)")
#define EXTEND(op) TRY(op " (%rdi), %ecx") TRY(op " 1(%rdi), %r9d")
#define CONDITION(c)                                                                                                \
    TRY("set" c " (%rdi)") TRY("cmov" c " (%rdi), %cx") TRY("cmov" c " (%rdi), %r8d") TRY("cmov" c " (%rdi), %rdx")
#define SHIFT(op, undefined)                                                                                        \
    TRY(op "b (%rdi)") TRY(op "w (%rdi)") TRY(op "l (%rdi)") TRY(op "q (%rdi)")                                     \
    TRY_LOOSE(undefined, op "b $3, (%rdi)") TRY_LOOSE(undefined, op "w $9, (%rdi)")                                 \
    TRY_LOOSE(undefined, op "l $31, (%rdi)") TRY_LOOSE(undefined, op "q $63, (%rdi)")                               \
    TRY("movb $32, %cl; " op "l %cl, (%rdi)") TRY_LOOSE(undefined, "movb $17, %cl; " op "q %cl, (%rdi)")
#define BIT(op)                                                                                                     \
    TRY_LOOSE(0x894, op "w $15, (%rdi)") TRY_LOOSE(0x894, op "l $31, (%rdi)") TRY_LOOSE(0x894, op "q $62, (%rdi)")  \
    TRY_LOOSE(0x894, "mov $-77, %rcx; " op " %ecx, (%rdi)") TRY_LOOSE(0x894, "mov $77, %rcx; " op " %rcx, (%rdi)")  \
    TRY_LOOSE(0x894, "mov $-1, %rcx; " op " %cx, (%rdi)")
#define COUNT(macro, op, undefined)                                                                                 \
    macro(op " (%rdi), %cx", undefined) macro(op " (%rdi), %ecx", undefined) macro(op " (%rdi), %rcx", undefined)
#define COUNT_V3(text, undefined) ROW(1, undefined, text)
#define COUNT_V1(text, undefined) ROW(0, undefined, text)
#define SSE_BOTH(op) /* 16 bytes aligned, load and store, and far registers */                                      \
    TRY(op " (%rdi), %xmm1") TRY(op " 16(%r12), %xmm13") TRY(op " %xmm2, (%rdi)") TRY(op " %xmm14, -16(%r13)")
#define AVX_BOTH(op)                                                                                                \
    TRY_V3("v" op " (%rdi), %xmm1") TRY_V3("v" op " 32(%r12), %ymm13") TRY_V3("v" op " %xmm2, (%rdi)")              \
    TRY_V3("v" op " %ymm14, -32(%r13,%r14,8)")
#define AVX512_BOTH(op)                                                                                             \
    TRY_V4("v" op " 16(%rdi), %xmm17") TRY_V4("v" op " 32(%r12), %ymm18") TRY_V4("v" op " 64(%r13), %zmm3")         \
    TRY_V4("v" op " -128(%rdi), %zmm25") TRY_V4("v" op " %xmm19, 16(%rdi)") TRY_V4("v" op " %ymm20, 32(%rdi)")      \
    TRY_V4("v" op " %zmm31, 4096-2048-192(%rdi)") TRY_V4("v" op " %zmm5, (%rdi,%r14,8)")
#define MASK "mov $0x8000000180000105, %rcx; kmovq %rcx, %k3; "
#define MASKED(op)                                                                                                  \
    TRY_V4(MASK op " %zmm17, 64(%rdi){%k3}") TRY_V4(MASK op " 32(%rdi), %ymm1{%k3}")                                \
    TRY_V4(MASK op " 64(%rdi), %zmm17{%k3}{z}") TRY_V4(MASK op " %xmm1, 16(%rdi){%k3}")

__asm__(LABEL(first_instruction)

        // How to say an address
        TRY("movl (%r12), %eax") TRY("movl (%r13), %eax") TRY("movl (%rbp), %eax") TRY("movl -4(%rbp), %eax")
        TRY("movl 0x123(%r13), %eax") TRY("movl (%rdi,%r14), %eax") TRY("movl 5(%r12,%r15,4), %r14d")
        TRY("movl 0x20010800-64(,%r14,8), %eax") TRY("movl 0x20010810, %ecx") TRY("movl (%r14,%rbp), %eax")
        TRY("movl (%edi), %eax") TRY("movl 4(%edi,%r15d), %eax") TRY("movq %ds:(%rdi), %rax")
        TRY("mov %fs:0, %rax; neg %rax; add %rdi, %rax; movl %fs:(%rax), %ecx; xor %eax, %eax")
        TRY("movabs 0x20010801, %al") TRY("movabs 0x20010800, %ax") TRY("movabs 0x20010800, %eax")
        TRY("movabs 0x20010800, %rax") TRY("movabs %al, 0x20010801") TRY("movabs %ax, 0x20010800")
        TRY("movabs %eax, 0x20010800") TRY("movabs %rax, 0x20010800")
        TRY(".byte 0x67, 0xa1, 0x00, 0x08, 0x01, 0x20")

        // Moves
        PLAIN_SIZES("mov") ALU_LOADS("mov", 0) TRY("movb (%rdi), %bpl")
        TRY("movb $0x81, (%rdi)") TRY("movw $0x8123, (%rdi)") TRY("movl $0x89abcdef, (%rdi)") TRY("movq $-5, (%rdi)")
        EXTEND("movzbl") EXTEND("movzwl") EXTEND("movsbl") EXTEND("movswl") TRY("movslq (%rdi), %rcx")
        TRY("movzbw (%rdi), %ax") TRY("movsbw (%rdi), %r9w") TRY("movsbq (%rdi), %r9") TRY("movswq (%rdi), %r9")
        TRY("movzbq (%rdi), %r9") TRY("movnti %ecx, (%rdi)") TRY("movnti %rcx, (%rdi)")
        ROW(1, 0, "movbe (%rdi), %cx") ROW(1, 0, "movbe (%rdi), %ecx") ROW(1, 0, "movbe (%rdi), %r9")
        ROW(1, 0, "movbe %cx, (%rdi)") ROW(1, 0, "movbe %ecx, (%rdi)") ROW(1, 0, "movbe %r9, (%rdi)")
        TRY("pushq (%rdi); pop %rcx") TRY("pushw (%rdi); popw %cx") TRY("push %rcx; popq (%rdi)")
        TRY("pushw %cx; popw (%rdi)")

        // Accesses that begin before the device or end behind it
        TRY("movq %rax, -0x804(%rdi)") TRY("movq -0x801(%rdi), %rax") TRY("addl %ecx, -0x802(%rdi)")
        TRY("movw 0xf7ff(%rdi), %ax") TRY("movq %rcx, 0xf7fc(%rdi)") TRY("movups -0x808(%rdi), %xmm1")
        TRY("movups %xmm2, 0xf7f3(%rdi)")

        // Arithmetic. The manual leaves AF undefined after and, or, xor and test.
        ALU("add", 0) ALU("or", 0x10) ALU("adc", 0) ALU("sbb", 0) ALU("and", 0x10) ALU("sub", 0) ALU("xor", 0x10)
        ALU("cmp", 0) TRY("lock; addl %ecx, (%rdi)") TRY("lock; orq $8, (%rdi)")
        TRY_LOOSE(0x10, "testb %cl, (%rdi)") TRY_LOOSE(0x10, "testw %cx, (%rdi)")
        TRY_LOOSE(0x10, "testl %ecx, (%rdi)")
        TRY_LOOSE(0x10, "testq %rcx, (%rdi)") ALU_IMMEDIATES("test", 0x10)
        UNARY("not") UNARY("neg") UNARY("inc") UNARY("dec") SIZES("xadd", 0) SIZES("xchg", 0) SIZES("cmpxchg", 0)
        TRY("movb (%rdi), %al; cmpxchgb %cl, (%rdi)") TRY("movw (%rdi), %ax; cmpxchgw %cx, (%rdi)")
        TRY("movl (%rdi), %eax; lock; cmpxchgl %ecx, (%rdi)") TRY("movq (%rdi), %rax; lock; cmpxchgq %rcx, (%rdi)")
        TRY_LOOSE(0xd4, "imulw (%rdi), %cx") TRY_LOOSE(0xd4, "imull (%rdi), %ecx")
        TRY_LOOSE(0xd4, "imulq (%rdi), %rcx")
        TRY_LOOSE(0xd4, "imulw $-3, (%rdi), %cx") TRY_LOOSE(0xd4, "imulw $0x345, (%rdi), %cx")
        TRY_LOOSE(0xd4, "imull $100, (%rdi), %ecx") TRY_LOOSE(0xd4, "imull $0x12345, (%rdi), %ecx")
        TRY_LOOSE(0xd4, "imulq $-1, (%rdi), %rcx") TRY_LOOSE(0xd4, "imulq $0x1234567, (%rdi), %rcx")
        CONDITION("o") CONDITION("no") CONDITION("b") CONDITION("ae") CONDITION("e") CONDITION("ne") CONDITION("be")
        CONDITION("a") CONDITION("s") CONDITION("ns") CONDITION("p") CONDITION("np") CONDITION("l") CONDITION("ge")
        CONDITION("le") CONDITION("g"));

__asm__(// Bits
        SHIFT("rol", 0x800) SHIFT("ror", 0x800) TRY_LOOSE(0x801, "rolb $8, (%rdi)")
        TRY_LOOSE(0x801, "rorw $16, (%rdi)")
        TRY_LOOSE(0x10, "shlb (%rdi)") TRY_LOOSE(0x10, "shll (%rdi)") TRY_LOOSE(0x10, "shrw (%rdi)")
        TRY_LOOSE(0x10, "shrq (%rdi)") TRY_LOOSE(0x10, "sarb (%rdi)") TRY_LOOSE(0x10, "sarl (%rdi)")
        TRY_LOOSE(0x810, "shlb $3, (%rdi)") TRY_LOOSE(0x810, "shll $31, (%rdi)") TRY_LOOSE(0x811, "shlw $20, (%rdi)")
        TRY_LOOSE(0x810, "shrw $9, (%rdi)") TRY_LOOSE(0x810, "shrq $63, (%rdi)") TRY_LOOSE(0x811, "shrb $30, (%rdi)")
        TRY_LOOSE(0x810, "sarb $7, (%rdi)") TRY_LOOSE(0x810, "sarw $15, (%rdi)") TRY_LOOSE(0x810, "sarq $40, (%rdi)")
        TRY_LOOSE(0x811, "sarb $20, (%rdi)") TRY("movb $32, %cl; shll %cl, (%rdi)")
        TRY_LOOSE(0x810, "movb $17, %cl; shrl %cl, (%rdi)") TRY_LOOSE(0x810, "movb $67, %cl; sarq %cl, (%rdi)")
        BIT("bt") BIT("bts") BIT("btr") BIT("btc")
        COUNT(COUNT_V1, "popcnt", 0) COUNT(COUNT_V3, "tzcnt", 0x894) COUNT(COUNT_V3, "lzcnt", 0x894)
        ROW(1, 0x14, "andn (%rdi), %ecx, %edx") ROW(1, 0x14, "andn (%rdi), %r9, %r10")
        ROW(1, 0x14, "blsr (%rdi), %ecx") ROW(1, 0x14, "blsr (%rdi), %r9") ROW(1, 0x14, "blsmsk (%rdi), %r9d")
        ROW(1, 0x14, "blsmsk (%rdi), %rcx") ROW(1, 0x14, "blsi (%rdi), %ecx") ROW(1, 0x14, "blsi (%rdi), %r9")
        ROW(1, 0x14, "mov $0x1107, %ecx; bextr %ecx, (%rdi), %edx") ROW(1, 0x94, "bextr %r9, (%rdi), %rdx")
        ROW(1, 0x94, "bextr %r9d, (%rdi), %edx") ROW(1, 0x14, "bzhi %ecx, (%rdi), %edx")
        ROW(1, 0x14, "bzhi %r9, (%rdi), %r10") ROW(1, 0x14, "mov $13, %r9; bzhi %r9, (%rdi), %r10")
        TRY_V3("shlx %ecx, (%rdi), %edx") TRY_V3("shlx %r9, (%rdi), %r10") TRY_V3("shrx %ecx, (%rdi), %edx")
        TRY_V3("shrx %r9, (%rdi), %r10") TRY_V3("sarx %ecx, (%rdi), %edx") TRY_V3("sarx %r9, (%rdi), %r10")
        TRY_V3("rorx $7, (%rdi), %edx") TRY_V3("rorx $40, (%rdi), %r10") TRY_V3("rorx $0, (%rdi), %r10")

        // Strings: to the device, from it, backwards, and across its edges
        TRY("movsb") TRY("movsw") TRY("movsl") TRY("movsq") TRY("xchg %rsi, %rdi; movsb") TRY("std; movsl")
        TRY("xchg %rsi, %rdi; std; movsq") TRY("mov $5, %ecx; rep movsb") TRY("mov $9, %ecx; rep movsq")
        TRY("mov $9, %ecx; xchg %rsi, %rdi; rep movsl") TRY("mov $7, %ecx; std; xchg %rsi, %rdi; rep movsw")
        TRY("lea 64(%rdi), %rsi; mov $8, %ecx; rep movsl") TRY("mov $4, %ecx; addr32 rep movsl")
        TRY("lea -0x808(%rdi), %rdi; mov $16, %ecx; rep movsb") TRY("lea 0xf7f8(%rdi), %rdi; mov $4, %ecx; rep movsl")
        TRY("lea -0x802(%rdi), %rdi; movsl") TRY("stosb") TRY("stosw") TRY("stosl") TRY("stosq") TRY("std; stosl")
        TRY("mov $5, %ecx; rep stosb") TRY("mov $9, %ecx; rep stosq") TRY("mov $3, %ecx; addr32 rep stosb"));

__asm__(// Vectors
        SSE_BOTH("movups") SSE_BOTH("movupd") SSE_BOTH("movaps") SSE_BOTH("movapd") SSE_BOTH("movdqa")
        SSE_BOTH("movdqu") SSE_BOTH("movss") SSE_BOTH("movsd") SSE_BOTH("movlps") SSE_BOTH("movlpd")
        SSE_BOTH("movhps") SSE_BOTH("movhpd") SSE_BOTH("movd") SSE_BOTH("movq")
        TRY("lddqu 3(%rdi), %xmm5") TRY("movntps %xmm1, (%rdi)") TRY("movntpd %xmm1, (%rdi)")
        TRY("movntdq %xmm9, (%rdi)") TRY("movntdqa (%rdi), %xmm9") TRY(".byte 0x66, 0x48, 0x0f, 0x6e, 0x07")
        TRY(".byte 0x66, 0x48, 0x0f, 0x7e, 0x07") TRY("pinsrb $13, 1(%rdi), %xmm1") TRY("pinsrw $6, 2(%rdi), %xmm9")
        TRY("pinsrd $2, (%rdi), %xmm1") TRY("pinsrq $1, (%rdi), %xmm1") TRY("pextrb $7, %xmm1, (%rdi)")
        TRY("pextrw $5, %xmm1, (%rdi)") TRY("pextrd $3, %xmm10, (%rdi)") TRY("pextrq $1, %xmm1, (%rdi)")
        TRY("extractps $2, %xmm1, (%rdi)")

        AVX_BOTH("movups") AVX_BOTH("movupd") AVX_BOTH("movaps") AVX_BOTH("movapd") AVX_BOTH("movdqa")
        AVX_BOTH("movdqu") TRY_V3("vmovss (%rdi), %xmm1") TRY_V3("vmovss %xmm9, (%rdi)")
        TRY_V3("vmovsd (%rdi), %xmm9")
        TRY_V3("vmovsd %xmm1, (%rdi)") TRY_V3("vmovlps (%rdi), %xmm2, %xmm3") TRY_V3("vmovlps %xmm2, (%rdi)")
        TRY_V3("vmovhps (%r12), %xmm12, %xmm13") TRY_V3("vmovhps %xmm2, (%rdi)") TRY_V3("vmovd (%rdi), %xmm1")
        TRY_V3("vmovhpd (%rdi), %xmm12, %xmm3") TRY_V3("vmovlpd %xmm12, (%rdi)")
        TRY_V3("vmovd %xmm1, (%rdi)") TRY_V3("vmovq (%rdi), %xmm1") TRY_V3("vmovq %xmm1, (%rdi)")
        TRY_V3("vlddqu 1(%rdi), %ymm5") TRY_V3("vmovntps %ymm1, (%rdi)") TRY_V3("vmovntdq %ymm1, (%rdi)")
        TRY_V3("vmovntpd %xmm1, (%rdi)") TRY_V3("vmovntdqa (%rdi), %ymm1") TRY_V3("vpinsrb $3, (%rdi), %xmm2, %xmm1")
        TRY_V3("vpinsrw $3, (%rdi), %xmm12, %xmm1") TRY_V3("vpinsrd $3, (%rdi), %xmm2, %xmm1")
        TRY_V3("vpinsrq $1, (%rdi), %xmm2, %xmm1") TRY_V3("vpextrb $3, %xmm2, (%rdi)")
        TRY_V3("vpextrw $3, %xmm2, (%rdi)") TRY_V3("vpextrd $3, %xmm2, (%rdi)") TRY_V3("vpextrq $1, %xmm2, (%rdi)")
        TRY_V3("vextractps $1, %xmm2, (%rdi)") TRY_V3("vinsertf128 $1, (%rdi), %ymm2, %ymm1")
        TRY_V3("vinserti128 $0, (%rdi), %ymm2, %ymm1") TRY_V3("vextractf128 $1, %ymm2, (%rdi)")
        TRY_V3("vextracti128 $1, %ymm2, (%rdi)") TRY_V3("vbroadcastss (%rdi), %xmm1")
        TRY_V3("vbroadcastss (%rdi), %ymm1") TRY_V3("vbroadcastsd (%rdi), %ymm1")
        TRY_V3("vbroadcastf128 (%rdi), %ymm1")
        TRY_V3("vpbroadcastb (%rdi), %ymm1") TRY_V3("vpbroadcastw (%rdi), %ymm1") TRY_V3("vpbroadcastd (%rdi), %xmm1")
        TRY_V3("vpbroadcastq (%rdi), %ymm1") TRY_V3("vbroadcasti128 (%rdi), %ymm1")
        TRY_V3("vzeroupper; movups (%rdi), %xmm1") TRY_V3("vzeroupper; vmovdqu (%rdi), %ymm1")
        TRY_V3("vzeroall; vmovdqu (%rdi), %ymm1") TRY_V3("vzeroall; movss (%rdi), %xmm1")

        AVX512_BOTH("movups") AVX512_BOTH("movupd") AVX512_BOTH("movaps") AVX512_BOTH("movapd")
        AVX512_BOTH("movdqa32") AVX512_BOTH("movdqa64") AVX512_BOTH("movdqu8") AVX512_BOTH("movdqu16")
        AVX512_BOTH("movdqu32") AVX512_BOTH("movdqu64")
        TRY_V4("vmovss 4(%rdi), %xmm17") TRY_V4("vmovss %xmm18, 8(%rdi)") TRY_V4("vmovsd 8(%rdi), %xmm17")
        TRY_V4("vmovsd %xmm17, 16(%rdi)") TRY_V4("vmovhps 8(%rdi), %xmm18, %xmm17") TRY_V4("vmovlps %xmm17, 8(%rdi)")
        TRY_V4("vmovd 4(%rdi), %xmm17") TRY_V4("vmovd %xmm17, 4(%rdi)") TRY_V4("vmovq 8(%rdi), %xmm17")
        TRY_V4("vmovq %xmm17, 8(%rdi)") TRY_V4("vmovntdq %zmm17, 64(%rdi)") TRY_V4("vmovntdqa 64(%rdi), %zmm17")
        TRY_V4("vmovntps %zmm1, 64(%rdi)") TRY_V4("vpinsrd $1, 4(%rdi), %xmm18, %xmm17")
        TRY_V4("vpextrq $1, %xmm18, 8(%rdi)") TRY_V4("vpextrw $1, %xmm18, 2(%rdi)")
        TRY_V4("vinserti32x4 $3, 16(%rdi), %zmm18, %zmm17") TRY_V4("vextracti32x4 $2, %zmm18, 16(%rdi)")
        TRY_V4("vextracti32x4 $1, %ymm18, 16(%rdi)") TRY_V4("vextractf64x4 $1, %zmm18, 32(%rdi)")
        TRY_V4("vinserti64x4 $1, 32(%rdi), %zmm18, %zmm17") TRY_V4("vpbroadcastb 1(%rdi), %zmm17")
        TRY_V4("vpbroadcastd 4(%rdi), %zmm1") TRY_V4("vbroadcastsd 8(%rdi), %ymm17")
        MASKED("vmovdqu8") MASKED("vmovdqu16") MASKED("vmovdqu32") MASKED("vmovdqa64") MASKED("vmovups")
        MASKED("vmovupd")
        TRY_V4("vzeroall; vmovdqu64 (%rdi), %zmm1")

        LABEL(first_near_instruction)
        TRY("movl near_pages+0x10800(%rip), %eax") TRY("movq %rax, near_pages+0x10808(%rip)")
        TRY("movl $0x12345678, near_pages+0x10804(%rip)") TRY("cmpb $3, near_pages+0x10803(%rip)")
        TRY("movups near_pages+0x10801(%rip), %xmm1") TRY_V3("vpinsrw $1, near_pages+0x10801(%rip), %xmm1, %xmm2")
        TRY_V4("vmovdqu64 near_pages+0x10801(%rip), %zmm20") TRY_V4("vpextrd $1, %xmm20, near_pages+0x10801(%rip)")
        LABEL(last_instruction)

        LABEL(refused_instruction)
        ROW(0, 0x07d8, "fadds (%rdi)") ROW(0, 0x17d1, "rcll (%rdi)") ROW(0, 0x07fc0f66, "paddb (%rdi), %xmm0")
        ROW(0, 0x27f7, "mull (%rdi)") ROW(2, 0x4875f162, "vpaddb 64(%rdi), %zmm1, %zmm1")
        LABEL(last_refused));

#elif defined(__aarch64__)

#define RETURN "\n ret\n"

// Level 0 is what all aarch64 processors have; 1 adds the atomics and orders of Armv8.4; 2 adds SVE.
static unsigned processor_level(void) {
    const unsigned long armv84 = HWCAP_ATOMICS | HWCAP_LRCPC | HWCAP_ILRCPC, has = getauxval(AT_HWCAP);
    if ((has & armv84) != armv84) return 0;
    return has & HWCAP_SVE ? 2 : 1;
}

#define TRY_V84(text) ROW(1, 0, text)
#define TRY_SVE(text) ROW(2, 0, text)

__asm__(".text\n .globl run_state\n .hidden run_state\n"
        "run_state:\n"
        " stp x29, x30, [sp, #-176]!\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n"
        " stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
        " stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n str x0, [sp, #160]\n"
        " mov x30, x1\n"
        " .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "  ldr q\\k, [x0, #256+64*\\k]\n .endr\n"
        " .irp k, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,19,20,21,22,23,24,25,26,27,28,29\n"
        "  ldr x\\k, [x0, #8*\\k]\n .endr\n"
        " ldr x0, [x0]\n"
        " blr x30\n"
        " ldr x30, [sp, #160]\n"
        " .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,19,20,21,22,23,24,25,26,27,28,29\n"
        "  str x\\k, [x30, #8*\\k]\n .endr\n"
        " .irp k, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "  str q\\k, [x30, #256+64*\\k]\n .endr\n"
        " ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n"
        " ldp x27, x28, [sp, #80]\n ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
        " ldp d14, d15, [sp, #144]\n ldp x29, x30, [sp], #176\n ret\n");

// x1 leads to the device; x2 and x3 are indices.
static void fill_state(struct state *state) {
    for (unsigned i = 0; i < 31; i++) state->general[i] = next_value();
    state->general[1] = (uintptr_t)device + MIDDLE;
    state->general[2] = 8;
    state->general[3] = 0xabcd0000fffffff0 | 0xffff0000;  // -16 in its lower half only
}

static void hide_undefined(struct state *state, uint64_t undefined_flags) {
    (void)state;
    (void)undefined_flags;
}

// The addressing modes of one load or store, and of one register pair.
#define MODES(op, register)                                                                                         \
    TRY(op " " register ", [x1]") TRY(op " " register ", [x1, #16]") TRY(op " " register ", [x1, x2]")              \
    TRY(op " " register ", [x1, w3, sxtw]") TRY(op " " register ", [x1], #-17") TRY(op " " register ", [x1, #33]!") \
    TRY(op " " register ", [x1, #-7]")
#define SCALED(op, register, shift)                                                                                 \
    TRY(op " " register ", [x1, x2, lsl #" shift "]") TRY(op " " register ", [x1, w2, uxtw #" shift "]")            \
    TRY(op " " register ", [x1, w3, sxtw #" shift "]") TRY(op " " register ", [x1, x2, sxtx #" shift "]")
#define PAIR(op, registers)                                                                                         \
    TRY(op " " registers ", [x1]") TRY(op " " registers ", [x1, #64]") TRY(op " " registers ", [x1, #-16]!")        \
    TRY(op " " registers ", [x1], #32")
#define ATOMIC(op)                                                                                                  \
    TRY_V84(op "b w4, w5, [x1]") TRY_V84(op "ah w4, w5, [x1]") TRY_V84(op "al w4, w5, [x1]")                        \
    TRY_V84(op " x4, x5, [x1]") TRY_V84(op "l x4, x4, [x1]") TRY_V84(op " w4, wzr, [x1]")

__asm__(".arch armv8.4-a+sve\n" LABEL(first_instruction)
        MODES("ldr", "w4") MODES("ldr", "x4") MODES("ldrb", "w4") MODES("ldrh", "w4") MODES("ldrsb", "w4")
        MODES("ldrsb", "x4") MODES("ldrsh", "w4") MODES("ldrsh", "x4") MODES("ldrsw", "x4") MODES("str", "w4")
        MODES("str", "x4") MODES("strb", "w4") MODES("strh", "w4") MODES("str", "xzr") MODES("ldr", "xzr")
        MODES("ldr", "b4") MODES("ldr", "h4") MODES("ldr", "s4") MODES("ldr", "d4") MODES("ldr", "q4")
        MODES("str", "b4") MODES("str", "h4") MODES("str", "s4") MODES("str", "d4") MODES("str", "q31")
        SCALED("ldr", "w4", "2") SCALED("ldr", "x4", "3") SCALED("str", "x4", "3") SCALED("ldrh", "w4", "1")
        SCALED("ldr", "q4", "4") SCALED("str", "d4", "3") SCALED("ldrsw", "x4", "2") SCALED("strb", "w4", "0")
        PAIR("ldp", "w4, w5") PAIR("ldp", "x4, x5") PAIR("stp", "w4, w5") PAIR("stp", "x4, xzr")
        PAIR("ldpsw", "x4, x5")
        PAIR("ldp", "s4, s5") PAIR("ldp", "d4, d5") PAIR("ldp", "q4, q5") PAIR("stp", "s4, s5") PAIR("stp", "d4, d5")
        PAIR("stp", "q4, q30") TRY("ldnp x4, x5, [x1, #8]") TRY("stnp q4, q5, [x1, #32]")
        TRY("ldtr w4, [x1, #3]") TRY("sttr x4, [x1, #-8]") TRY("ldtrsb x4, [x1, #3]")
        TRY("ldp x1, x5, [x1, #16]") TRY("ldr x1, [x1]")
        TRY("mov x9, sp; sub x5, x1, #0x850; mov sp, x5; ldr x4, [sp, #0x90]!; mov x5, sp; mov sp, x9; mov x9, x5")
        TRY("ldar w4, [x1]") TRY("ldar x4, [x1]") TRY("ldarb w4, [x1]") TRY("ldarh w4, [x1]") TRY("stlr w4, [x1]")
        TRY("stlr x4, [x1]") TRY("stlrb w4, [x1]") TRY("stlrh w4, [x1]") TRY_V84("ldapr w4, [x1]")
        TRY_V84("ldapr x4, [x1]")
        TRY_V84("ldaprb w4, [x1]") TRY_V84("ldapur w4, [x1, #4]") TRY_V84("stlur x4, [x1, #-8]")
        TRY_V84("ldapursb w4, [x1, #5]")
        ATOMIC("swp") ATOMIC("ldadd") ATOMIC("ldclr") ATOMIC("ldeor") ATOMIC("ldset")
        TRY("sub x1, x1, #0x804; str x4, [x1]") TRY("sub x1, x1, #0x801; ldr w4, [x1]")
        TRY("sub x1, x1, #0x808; ldr q4, [x1]") TRY("sub x1, x1, #0x808; stp x4, x5, [x1]")
        TRY_SVE("ptrue p1.b; ld1b {z4.b}, p1/z, [x1]")
        TRY_SVE("ptrue p1.b, vl7; ld1b {z4.b}, p1/z, [x1, #-1, mul vl]")
        TRY_SVE("ptrue p1.b; ld1b {z4.b}, p1/z, [x1, x2]") TRY_SVE("ptrue p1.b, vl3; st1b {z4.b}, p1, [x1, x2]")
        TRY_SVE("ptrue p1.b; st1b {z31.b}, p1, [x1, #1, mul vl]")
        LABEL(first_near_instruction)
        LABEL(last_instruction)

        LABEL(refused_instruction)
        ROW(0, 0x885f7c24, "ldxr w4, [x1]") ROW(0, 0x4c407024, "ld1 {v4.16b}, [x1]")
        ROW(1, 0x88a47c25, "cas w4, w5, [x1]")
        LABEL(last_refused));

#endif

// clang-format on

static void try_instruction(const struct instruction *instruction) {
    struct state start = {0}, plain, trapped;
    unsigned level = processor_level();
    memset(&start, 0, sizeof start);
    fill_pages();
    fill_state(&start);
    for (size_t at = 0; at < sizeof start.vector; at += 8) {
        uint64_t value = next_random();
        memcpy((uint8_t *)start.vector + at, &value, 8);
    }
    plain = trapped = start;
    run_state(&plain, instruction->code, level);
    finish_plain_run();
    run_state(&trapped, instruction->code, level);
    finish_device_run(instruction->text);
    hide_undefined(&plain, instruction->detail);
    hide_undefined(&trapped, instruction->detail);
    compare(instruction->text, "general registers", trapped.general, plain.general, sizeof plain.general);
    compare(instruction->text, "vector registers", trapped.vector, plain.vector, sizeof plain.vector);
}

static void test_instructions(const struct instruction *first, const struct instruction *end) {
    unsigned left_out = 0;
    for (const struct instruction *i = first; i < end; i++) {
        if (i->needs > processor_level()) {
            left_out++;
            continue;
        }
        for (unsigned repeat = 0; repeat < 8; repeat++) try_instruction(i);
    }
    if (left_out > 0) SKIP("instructions that this processor does not have");
}

static void try_refused(const struct instruction *instruction, uint64_t bytes) {
    struct state start, state;
    fill_pages();
    memset(&start, 0, sizeof start);
    fill_state(&start);
    state = start;
    finish_plain_run();
    refused_changes = described = 0;
    run_state(&state, instruction->code, processor_level());
    allow_device(true);
    CHECK_EQ(traps, 1);
    CHECK_EQ(calls, 0);
    CHECK_EQ(refused, -ENOTSUP);
    CHECK_EQ(refused_changes, 0);
    CHECK(described >= 1 && described <= 15);

    char right[64];
    int length = 0;
    for (; bytes != 0; bytes >>= 8) length += sprintf(right + length, "%02x ", (unsigned)(bytes & 0xff));
    if (!CHECK(strncmp(refused_text, right, (size_t)length) == 0))
        printf("%s: %s\n", instruction->text, refused_text);
    sprintf(right, " at 0x%llx", (unsigned long long)(uintptr_t)instruction->code);
    if (!CHECK(strstr(refused_text, right))) printf("%s: %s\n", instruction->text, refused_text);
    CHECK_EQ(strlen(refused_short), sizeof refused_short - 1);
    CHECK(strncmp(refused_short, refused_text, sizeof refused_short - 1) == 0);
}

static void test_refused(void) {
    for (const struct instruction *i = refused_instruction; i < last_refused; i++)
        if (i->needs <= processor_level()) try_refused(i, i->detail);
}

// An instruction that cannot have caused the fault has been misread, and must not be carried out.
static void test_implausible(void) {
    lie_about_address = true;
    try_refused(first_instruction, 0);
    lie_about_address = false;
}

// What compilers make of C

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

static u64 bits_of_double(double value) {
    u64 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static u64 bits_of_float(float value) {
    u32 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// clang-format off
// Each X is a function of a register's address p and a value v.
#define MOVES(X, type)                                                                                              \
    X(type, load, return (u64)*p)                                                                                   \
    X(type, store, *p = v)                                                                                          \
    X(type, store_zero, *p = 0)                                                                                     \
    X(type, move, p[1] = p[0])                                                                                      \
    X(type, indexed, p[v & 7] = p[~v & 7])                                                                          \
    X(type, equal, return *p == v)                                                                                  \
    X(type, less, return *p < v)                                                                                    \
    X(type, choose, return (u64)(*p > 5 ? v : *p))                                                                  \
    X(type, load_acquire, return (u64)__atomic_load_n(p, __ATOMIC_ACQUIRE))                                         \
    X(type, store_release, __atomic_store_n(p, v, __ATOMIC_RELEASE))
#define CALCULATIONS(X, type)                                                                                       \
    X(type, store_constant, *p = (type)0x8899aabbccddeeff)                                                          \
    X(type, add, *p = (type)(*p + v))                                                                               \
    X(type, subtract, *p = (type)(*p - v))                                                                          \
    X(type, set_bits, *p = (type)(*p | v))                                                                          \
    X(type, clear_bits, *p = (type)(*p & ~v))                                                                       \
    X(type, keep_bits, *p = (type)(*p & v))                                                                         \
    X(type, flip_bits, *p = (type)(*p ^ v))                                                                         \
    X(type, set_one, *p = (type)(*p | 0x40))                                                                        \
    X(type, clear_one, *p = (type)(*p & ~(type)8))                                                                  \
    X(type, invert, *p = (type) ~*p)                                                                                \
    X(type, negate, *p = (type)(0 - *p))                                                                            \
    X(type, increment, (*p)++)                                                                                      \
    X(type, decrement, (*p)--)                                                                                      \
    X(type, left, *p = (type)(*p << 3))                                                                             \
    X(type, right, *p = (type)(*p >> (v & 7)))                                                                      \
    X(type, multiply, return (u64)*p * v)                                                                           \
    X(type, without, return *p & (type)~v)                                                                          \
    X(type, field, return *p >> 3 & 0x1f)                                                                           \
    X(type, test_one, return *p & 0x10 ? 3 : 5)                                                                     \
    X(type, test_bits, return (*p & v) != 0)                                                                        \
    X(type, swapped, return __builtin_bswap64(*p))                                                                  \
    X(type, ones, return (u64)__builtin_popcountll(*p))                                                             \
    X(type, sum, return (u64)p[0] + p[1] + p[2])
#define EXCHANGES(X, type)                                                                                          \
    X(type, exchange, return (u64)__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))                                      \
    X(type, fetch_add, return (u64)__atomic_fetch_add(p, v, __ATOMIC_SEQ_CST))                                      \
    X(type, fetch_or, return (u64)__atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))                                        \
    X(type, or_atomic, __atomic_or_fetch(p, v, __ATOMIC_SEQ_CST))                                                   \
    X(type, replace, return __atomic_compare_exchange_n(p, &(type){0}, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
#define REALS(X, type) X(type, load, return bits_of_##type(*p)) X(type, store, *p = v) X(type, move, p[1] = p[0])

#define SIGNED(X) MOVES(X, s8) MOVES(X, s16) MOVES(X, s32) MOVES(X, s64)
#define UNSIGNED(X) MOVES(X, u8) MOVES(X, u16) MOVES(X, u32) MOVES(X, u64)
#define ARITHMETIC(X) CALCULATIONS(X, u8) CALCULATIONS(X, u16) CALCULATIONS(X, u32) CALCULATIONS(X, u64)
#define FLOATING(X) REALS(X, float) REALS(X, double)
#if defined(__x86_64__)
#define ATOMIC_UPDATES(X) EXCHANGES(X, u8) EXCHANGES(X, u16) EXCHANGES(X, u32) EXCHANGES(X, u64)
#else
#define ATOMIC_UPDATES(X)  // these may be loops of exclusive loads and stores, which cannot be trapped
#endif
#define FUNCTIONS(X) SIGNED(X) UNSIGNED(X) ARITHMETIC(X) FLOATING(X) ATOMIC_UPDATES(X)

#define DEFINE(type, name, body)                                                                                    \
    static __attribute__((noinline)) u64 name##_##type(void *memory, u64 value) {                                   \
        volatile type *p = memory;                                                                                  \
        type v = (type)value;                                                                                       \
        (void)v;                                                                                                    \
        body;                                                                                                       \
        return 0;                                                                                                   \
    }
#define LIST(type, name, body) {#name "_" #type, name##_##type},

// Copies of structures, to the device and from it; their members tempt a compiler to use several widths.
#define STRUCTURES(X) X(1) X(2) X(3) X(4) X(5) X(7) X(8) X(12) X(16) X(24) X(31) X(32) X(40) X(48) X(64) X(100) X(256)
#define DEFINE_COPY(count)                                                                                          \
    struct bytes_##count {                                                                                          \
        u8 bytes[count];                                                                                            \
    };                                                                                                              \
    static __attribute__((noinline)) u64 to_device_##count(void *memory, u64 value) {                               \
        *(struct bytes_##count *)memory = *(struct bytes_##count *)(pages + (value & 63));                          \
        return 0;                                                                                                   \
    }                                                                                                               \
    static __attribute__((noinline)) u64 from_device_##count(void *memory, u64 value) {                             \
        *(struct bytes_##count *)(pages + (value & 63)) = *(struct bytes_##count *)memory;                          \
        return 0;                                                                                                   \
    }
#define LIST_COPY(count) {"to_device_" #count, to_device_##count}, {"from_device_" #count, from_device_##count},

// clang-format on

FUNCTIONS(DEFINE)
STRUCTURES(DEFINE_COPY)

static const struct function {
    const char *name;
    u64 (*call)(void *memory, u64 value);
} functions[] = {FUNCTIONS(LIST) STRUCTURES(LIST_COPY)};

static void try_function(const struct function *function) {
    fill_pages();
    u64 value = next_value(), plain = function->call(device + MIDDLE, value);
    finish_plain_run();
    u64 trapped = function->call(device + MIDDLE, value);
    finish_device_run(function->name);
    compare(function->name, "result", &trapped, &plain, sizeof plain);
}

static void test_functions(void) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        for (unsigned repeat = 0; repeat < 4; repeat++) try_function(&functions[i]);
}

// libc's own, with the widest registers it finds.
static void copy_in(size_t at, size_t size) { memcpy(device + MIDDLE + at, pages, size); }
static void copy_out(size_t at, size_t size) { memcpy(pages + MIDDLE, device + MIDDLE + at, size); }
static void fill(size_t at, size_t size) { memset(device + MIDDLE + at, 0x5a, size); }
static void move_up(size_t at, size_t size) { memmove(device + MIDDLE + at + 9, device + MIDDLE + at, size); }
static void move_down(size_t at, size_t size) { memmove(device + MIDDLE + at, device + MIDDLE + at + 9, size); }

static void test_libc(void) {
    static const struct {
        const char *name;
        void (*call)(size_t at, size_t size);
    } copies[] = {{"memcpy to the device", copy_in},
                  {"memcpy from the device", copy_out},
                  {"memset", fill},
                  {"memmove up", move_up},
                  {"memmove down", move_down}};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        for (size_t size = 1; size < 1500; size += 1 + size / 6) {
            size_t at = size % 5;
            fill_pages();
            copies[i].call(at, size);
            finish_plain_run();
            copies[i].call(at, size);
            finish_device_run(copies[i].name);
        }
    }
}

// One access of the program is one access of the device, as wide as the program said.
static void test_widths(void) {
    static const struct {
        const char *name;
        unsigned width;
    } widths[] = {{"load_u8", 1},  {"load_u16", 2},  {"load_u32", 4},    {"load_u64", 8},
                  {"store_u8", 1}, {"store_s32", 4}, {"store_double", 8}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const struct function *function = functions;
        while (strcmp(function->name, widths[i].name) != 0) function++;
        try_function(function);
        CHECK_EQ(traps, 1);
        CHECK_EQ(calls, 1);
        CHECK_EQ(widest, widths[i].width);
    }
}

int main(void) {
    uint8_t *low = mmap((void *)LOW_PAGES, sizeof near_pages, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO};
    if (low != (void *)LOW_PAGES || sigaction(SIGSEGV, &action, NULL) != 0) {
        perror("cannot map the test's pages at 0x20000000");
        return 1;
    }
    use_pages(low);
    test_instructions(first_instruction, first_near_instruction);
    test_refused();
    test_implausible();
    test_functions();
    test_widths();
    test_libc();
    use_pages(near_pages);
    test_instructions(first_near_instruction, last_instruction);
    return test_summary();
}
