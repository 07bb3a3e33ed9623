// SPDX-License-Identifier: GPL-2.0-only
// Compiled TLB-miss handlers with addresses that are constants: they run while the host has memory for each.
#include "misses.h"
