// ixgbe_interrupts.h: the 82599's side of interrupts.h.
#pragma once

#include "interrupts.h"

extern const struct interrupt_ops ixgbe_interrupt_ops;
