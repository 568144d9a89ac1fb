// dma_main.h: the frame that the milestones of chapters 2 to 4 stand in.
#pragma once

#include "dma.h"

// Reads the command line (one optional ADDRESS, or --help, which prints `what_it_does`), opens the device there and
// its IOVA space, calls `run`, and closes everything again. Returns the exit code: 0, 1 if something failed, 2 for a
// wrong command line.
int dma_main(int argc, char **argv, const char *what_it_does, int (*run)(struct dma_space *space));
