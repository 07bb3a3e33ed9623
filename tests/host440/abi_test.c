// SPDX-License-Identifier: GPL-2.0-only
// Every ioctl of /dev/kvm, with good and bad arguments.
#include "abi_test.h"

#include "check.h"

int main(void) {
    check_program("abi");
    abi_system();
    abi_memory();
    abi_dirty_log();
    abi_guest_memory();
    abi_registers();
    abi_run();
    abi_debug();
    abi_events();
    abi_coalesced();
    abi_statistics();
    abi_exit_sites();
    abi_hot_sites();
    abi_patching();
    return check_end();
}
