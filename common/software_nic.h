// software_nic.h: no 82599 in this machine? Then the program runs itself on the software one.
#pragma once

// For a program that was given no address, called before it opens anything. It will open `address`, and `address_2`
// if that is not NULL. Returns if these are 82599s bound to vfio-pci, or if the program already runs under
// scripts/sim. Otherwise it says so in one line on standard error and starts the program again there, with the same
// arguments. There both ports' cables are plugged into `wire` (see scripts/sim --wire), unless SIM82599_WIRE0 and
// SIM82599_WIRE1 say into what. If scripts/sim is not where the program was built, it returns, and the program finds
// no device.
void use_software_nic_if_no_hardware(char *const argv[], const char *address, const char *address_2,
                                     const char *wire);
