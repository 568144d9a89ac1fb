// software_nic.h: no 82599 in this machine? Then the program runs itself on the software one.
#pragma once

// For a program that was given no address, called before it opens anything. Returns if there is an 82599 bound to
// vfio-pci at the default address, or if the program already runs under scripts/sim. Otherwise it says so in one line
// on standard error and starts the program again there, with the same arguments; if scripts/sim is not where the
// program was built, it returns and the program finds no device.
void use_software_nic_if_no_hardware(char *const argv[]);

// The same, for a program that makes no packets of its own: there, both ports' cables are plugged into `wire` (see
// scripts/sim --wire), unless SIM82599_WIRE0 and SIM82599_WIRE1 say into what.
void use_software_nic_with_wire(char *const argv[], const char *wire);
