// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/trap.h"

namespace untrap::interp {

// Storage as the interpreter sees it: effective addresses of the current context (MSR[PR,IS,DS], PID). Every access
// is checked; one that fails fills in the trap (kind, ea, is_store, size, real, value) and returns false.
class Storage {
  public:
    // Loads size (1, 2, 4, 8) bytes at ea, big-endian (or as the page's E attribute says), right-aligned.
    // Accesses may be misaligned and may cross pages.
    virtual bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) = 0;
    virtual bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) = 0;
    // The instruction word at pc (aligned).
    virtual bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) = 0;
    // Checks that a load, or a store, of one byte at ea would succeed (dcbf, dcbst and icbi need a load, dcbi a store).
    virtual bool check(std::uint32_t ea, bool store, isa::Trap& trap) = 0;
    // icbi: copies of the code in this 32-byte line are stale.
    virtual void code_invalidated(std::uint32_t ea) = 0;
    // 64-bit timebase as mftb sees it.
    virtual std::uint64_t timebase() = 0;

  protected:
    ~Storage() = default;
};

} // namespace untrap::interp
