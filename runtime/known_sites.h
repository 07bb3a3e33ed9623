// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/vcpu.h"

namespace untrap::runtime {

// The instruction words from a site on, as far as a sequence may reach.
struct SiteWindow {
    std::array<std::uint32_t, plan::sequence_window> words;
    unsigned length = 0;
};
// bytes_left: to the end of the guest page, which ends the window; so does the end of the memory slot.
SiteWindow site_window(const PhysicalMemory& memory, std::uint64_t real, std::uint32_t bytes_left);

// The code in the 4 KB page of real is about to run, or trapped: if its content is that of a page with known sites,
// they are patched.
void patch_known_sites(Vcpu& vcpu, std::uint64_t real);

// Guest memory was written: tells the registry.
void code_written(Vcpu& vcpu, std::uint64_t real, std::uint64_t length);

} // namespace untrap::runtime
