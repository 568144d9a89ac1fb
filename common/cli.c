// cli.c: reads what people type, and refuses by name what cannot be meant.

#define _GNU_SOURCE
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

int cli_pci_address(const char *text, char address[PCI_ADDRESS_SIZE]) {
    unsigned domain = 0, bus, slot, function;
    int end = 0;
    if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 || text[end]) {
        domain = 0;
        end = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3 || text[end]) end = 0;
    }
    if (!end || slot > 0x1f || function > 7 || strpbrk(text, "+- xX"))
        return log_error(-EINVAL, "'%s' is not a PCI address; it should look like %s or 04:00.0", text,
                         DEFAULT_ADDRESS);
    snprintf(address, PCI_ADDRESS_SIZE, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, slot & 0x1f, function & 7);
    return 0;
}

int cli_number(const char *option, const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || number < low || number > high)
        return log_error(-EINVAL, "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, option, text, low,
                         high);
    *value = number;
    return 0;
}

// Atomic, since the kernel gives the signal to any of a program's threads.
static bool stop_requested;

static void request_stop(int signal_number) {
    (void)signal_number;
    __atomic_store_n(&stop_requested, true, __ATOMIC_RELAXED);
}

// Where a standard descriptor is missing, the next file that is opened gets its number, and then our messages.
static void fill_standard_descriptors(void) {
    int descriptor;
    do descriptor = open("/dev/null", O_RDWR);
    while (descriptor >= 0 && descriptor <= STDERR_FILENO);
    if (descriptor >= 0) close(descriptor);
}

// What was printed may have got lost, on a full disk for example. That must not look like success. The reason is
// known only if it is the last piece that could not be written: stdio keeps no errno for those before.
static void check_standard_output(void) {
    int error = fflush(stdout) ? -errno : ferror(stdout) ? -EIO : 0;
    if (!error) return;
    log_error(error, "standard output: not all that was printed has been written; is the disk full?");
    _exit(1);
}

void cli_guard_output(void) {
    fill_standard_descriptors();
    atexit(check_standard_output);
}

void cli_stop_on_signals(void) {
    // SA_RESETHAND: the second signal finds the default action again.
    struct sigaction action = {.sa_handler = request_stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_stop(void) { return __atomic_load_n(&stop_requested, __ATOMIC_RELAXED); }
