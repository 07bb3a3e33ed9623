// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The guests of guest/, for VM_LOAD(vm, 0, NAME); entered at 0 with r3 and r4 as guest_main's arguments.
extern const char guest_conversation[], guest_conversation_end[];
extern const char guest_isolation[], guest_isolation_end[];
extern const char guest_patching[], guest_patching_end[];
