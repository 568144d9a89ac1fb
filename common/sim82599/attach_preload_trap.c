// attach_preload_trap.c: SIGSEGV is where a register access arrives.
//
// The handler finds the window the address lies in, has the instruction carried out with the device in the place of
// memory, and returns behind it. Every other fault is not ours: it goes to the handler that the program has, or
// believes to have, because sigaction and signal leave ours in place and remember what the program wanted.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "decode.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static bool installed;
static struct sigaction program_action;  // what the program would have without us

static uint64_t read_window(void *context, uintptr_t address, unsigned width) {
    const struct window *window = context;
    return bar_read(window->port, window->region, window->offset + (address - window->start), width);
}

static void write_window(void *context, uintptr_t address, unsigned width, uint64_t value) {
    const struct window *window = context;
    bar_write(window->port, window->region, window->offset + (address - window->start), width, value);
}

static void say_undecodable(const ucontext_t *context, const struct window *window, uintptr_t address) {
    char bytes[96], text[320];
    decode_describe(context, bytes, sizeof bytes);
    int length = snprintf(text, sizeof text,
                          "sim82599: cannot carry out the instruction %s, which accesses register 0x%llx of %s (at "
                          "%#lx). Use plain loads and stores of 1, 2, 4 or 8 bytes for registers.\n",
                          bytes, (unsigned long long)(window->offset + (address - window->start)),
                          host_address(window->port), (unsigned long)address);
    (void)!real.write(STDERR_FILENO, text, (size_t)length);
}

// What the processor says about a fault: was it a store? Where it does not say, a store is as good as a load.
static bool is_store(const ucontext_t *context) {
#if defined(__x86_64__)
    enum { PAGE_FAULT_WRITE = 2 };
    return context->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE;
#elif defined(__aarch64__)
    enum { ESR_RECORD = 0x45535201, WRITE_NOT_READ = 1 << 6 };
    const unsigned char *at = context->uc_mcontext.__reserved;
    for (;;) {
        struct {
            uint32_t kind, size;
            uint64_t syndrome;
        } record;
        memcpy(&record, at, sizeof record);
        if (record.kind == ESR_RECORD) return record.syndrome & WRITE_NOT_READ;
        if (record.kind == 0 || record.size == 0) return false;
        at += record.size;
    }
#else
    (void)context;
    return false;
#endif
}

// Where the program mapped registers for reading only, a store is a fault like any other.
static bool is_allowed(const struct window *window, const ucontext_t *context) {
    return window->protection & (is_store(context) ? PROT_WRITE : PROT_READ | PROT_WRITE);
}

enum outcome { NOT_OURS, DONE, FATAL };

static enum outcome try_access(uintptr_t address, ucontext_t *context) {
    host_lock();
    const struct window *found = bar_find(address);
    enum outcome outcome = NOT_OURS;
    if (found) {
        // A copy: the list may move when the access is over and the lock is gone.
        struct window window = *found;
        struct decode_target target = {.context = &window, .read = read_window, .write = write_window};
        outcome = is_allowed(&window, context) ? DONE : NOT_OURS;
        if (outcome == DONE && decode_and_emulate(context, address, window.start, window.size, &target) != 0) {
            say_undecodable(context, &window, address);
            outcome = FATAL;
        }
    }
    host_unlock();
    return outcome;
}

// Returning with the default action in place runs into the same fault again, and ends the program as it should end.
// A signal that somebody sent does not come again by itself.
static void die_of(int number, const siginfo_t *info) {
    real.sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    if (info->si_code <= 0) raise(number);
}

// The program's own handler, in the surroundings it asked for.
static void pass_on(int number, siginfo_t *info, ucontext_t *context) {
    struct sigaction action = program_action;
    if (action.sa_handler == SIG_IGN && info->si_code <= 0) return;
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        die_of(number, info);
        return;
    }
    if (action.sa_flags & SA_RESETHAND) program_action = (struct sigaction){.sa_handler = SIG_DFL};
    sigset_t mask = context->uc_sigmask;
    for (int i = 1; i < NSIG; i++)
        if (sigismember(&action.sa_mask, i) == 1) sigaddset(&mask, i);
    if (!(action.sa_flags & SA_NODEFER)) sigaddset(&mask, number);
    real.pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(number, info, context);
    else
        action.sa_handler(number);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    if (host_is_mine()) {
        // A fault of our own: DMA to memory that the program gave back by a way that we do not see.
        if (info->si_code > 0 && vfio_repair(address)) {
            errno = saved;
            return;
        }
        die_of(number, info);
        return;
    }
    enum outcome outcome = info->si_code > 0 ? try_access(address, context) : NOT_OURS;
    if (outcome == FATAL) die_of(number, info);
    if (outcome == NOT_OURS) pass_on(number, info, context);
    errno = saved;
}

// Our handler runs on the program's alternative stack only if the program's own one would: some programs give SIGSEGV
// a stack of a few kilobytes, but those that have no ordinary stack to spare must say so.
static int put_in_place(void) {
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_NODEFER | (program_action.sa_flags & SA_ONSTACK)};
    sigfillset(&ours.sa_mask);
    sigdelset(&ours.sa_mask, SIGSEGV);
    sigdelset(&ours.sa_mask, SIGBUS);
    return real.sigaction(SIGSEGV, &ours, NULL) < 0 ? -errno : 0;
}

int trap_install(void) {
    if (installed) return 0;
    if (real.sigaction(SIGSEGV, NULL, &program_action) < 0) return -errno;
    int error = put_in_place();
    installed = !error;
    return error;
}

// A handler that blocked SIGSEGV would be killed by a register access of its own; see without_segv.
static int sigaction_without_segv(int number, const struct sigaction *action, struct sigaction *old) {
    if (!action) return real.sigaction(number, NULL, old);
    struct sigaction copy = *action;
    sigdelset(&copy.sa_mask, SIGSEGV);
    return real.sigaction(number, &copy, old);
}

int our_sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (number != SIGSEGV) return sigaction_without_segv(number, action, old);
    if (!installed) return real.sigaction(number, action, old);
    struct sigaction before = program_action;
    if (action) program_action = *action;
    if (old) *old = before;
    return action && put_in_place() < 0 ? -1 : 0;
}
ALSO(__sigaction, sigaction);

signal_handler our_signal(int number, signal_handler handler) {
    if (number != SIGSEGV || !installed) return real.signal(number, handler);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
    return our_sigaction(number, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}
ALSO(bsd_signal, signal);

// A thread that blocks SIGSEGV would be killed by its next register access instead of having it carried out.
static const sigset_t *without_segv(int how, const sigset_t *set, sigset_t *copy) {
    if (!set || how == SIG_UNBLOCK || sigismember(set, SIGSEGV) != 1) return set;
    *copy = *set;
    sigdelset(copy, SIGSEGV);
    return copy;
}

int our_sigprocmask(int how, const sigset_t *set, sigset_t *old) {
    sigset_t copy;
    return real.sigprocmask(how, without_segv(how, set, &copy), old);
}

int our_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    sigset_t copy;
    return real.pthread_sigmask(how, without_segv(how, set, &copy), old);
}
