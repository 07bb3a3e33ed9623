// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/commands.h"

int main(int argc, char** argv) { return untrap::vmm::untrap_main(argc, argv); }
