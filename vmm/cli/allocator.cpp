// SPDX-License-Identifier: GPL-2.0-only

// Makes mimalloc the allocator behind new and delete. Not part of a sanitizer build, whose own allocator must see
// every allocation.

#include <mimalloc-new-delete.h>
