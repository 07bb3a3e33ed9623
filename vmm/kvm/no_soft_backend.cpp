// SPDX-License-Identifier: GPL-2.0-only

// Takes the place of soft_backend.cpp where soft440 is not built: it exists on x86-64 only.

#include "vmm/kvm/backend.h"

namespace untrap::vmm {

std::unique_ptr<KvmBackend> make_soft_backend() { return nullptr; }

} // namespace untrap::vmm
