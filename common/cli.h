// cli.h: what every program at a terminal needs: addresses, numbers, output that does not get lost, and a clean end
// on Ctrl-C.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The two ports that programs use when none is named.
#define DEFAULT_ADDRESS   "0000:04:00.0"
#define DEFAULT_ADDRESS_2 "0000:05:00.0"

enum { PCI_ADDRESS_SIZE = sizeof DEFAULT_ADDRESS };

// "04:00.0" or "0000:04:00.0" becomes the long form. 0, or -EINVAL after naming the bad text.
int cli_pci_address(const char *text, char address[PCI_ADDRESS_SIZE]);

// A whole decimal number in [low, high]. 0, or -EINVAL after naming option, text and range.
int cli_number(const char *option, const char *text, uint64_t low, uint64_t high, uint64_t *value);

// What is printed goes where it should, or the program says that it could not, and ends with exit code 1. Comes first
// in main, before a file is opened: where a program was started without a standard descriptor (2>&-), this opens
// /dev/null in its place.
void cli_guard_output(void);

// From now on SIGINT and SIGTERM only set cli_stop, which a program's loop looks at. A second one ends the program
// the hard way, for the case that the loop hangs.
void cli_stop_on_signals(void);
bool cli_stop(void);
