// test_cli.c: what programs are told on the command line, and by signals.

#include "cli.h"
#include "clock.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

static void addresses_have_two_forms(void) {
    char address[PCI_ADDRESS_SIZE];
    CHECK_EQ(cli_pci_address("0000:04:00.0", address), 0);
    CHECK(!strcmp(address, "0000:04:00.0"));
    CHECK_EQ(cli_pci_address("af:1f.7", address), 0);
    CHECK(!strcmp(address, "0000:af:1f.7"));
    CHECK_EQ(cli_pci_address("", address), -EINVAL);
    CHECK_EQ(cli_pci_address("04:00", address), -EINVAL);
    CHECK_EQ(cli_pci_address("04:20.0", address), -EINVAL);
    CHECK_EQ(cli_pci_address("04:00.8", address), -EINVAL);
    CHECK_EQ(cli_pci_address("04:00.0 ", address), -EINVAL);
}

static void numbers_have_a_range(void) {
    uint64_t number = 0;
    CHECK_EQ(cli_number("--count", "7", 7, 9, &number), 0);
    CHECK_EQ(number, 7);
    CHECK_EQ(cli_number("--count", "9", 7, 9, &number), 0);
    CHECK_EQ(number, 9);
    CHECK_EQ(cli_number("--count", "6", 7, 9, &number), -EINVAL);
    CHECK_EQ(cli_number("--count", "10", 7, 9, &number), -EINVAL);
    CHECK_EQ(cli_number("--count", "-8", 7, 9, &number), -EINVAL);
    CHECK_EQ(cli_number("--count", "8k", 7, 9, &number), -EINVAL);
    CHECK_EQ(cli_number("--count", "", 7, 9, &number), -EINVAL);
    CHECK_EQ(cli_number("--count", "18446744073709551616", 0, UINT64_MAX, &number), -EINVAL);
    CHECK_EQ(number, 9);
}

static void *send_signal(void *unused) {
    raise(SIGTERM);  // to the thread that calls it
    return unused;
}

// The kernel gives a program's signal to whichever thread it likes.
static void any_thread_may_get_the_signal(void) {
    cli_stop_on_signals();
    CHECK(!cli_stop());
    pthread_t other;
    CHECK_EQ(pthread_create(&other, NULL, send_signal, NULL), 0);
    uint64_t deadline = clock_ns() + 30 * 1000000000ull;
    while (!cli_stop() && clock_ns() < deadline) sleep_us(1000);
    CHECK(cli_stop());
    pthread_join(other, NULL);
}

int main(void) {
    addresses_have_two_forms();
    numbers_have_a_range();
    any_thread_may_get_the_signal();
    return test_summary();
}
