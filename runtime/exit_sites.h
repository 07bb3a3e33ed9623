// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/exit_reason.h"

namespace untrap::runtime {

// The guest instruction that exits happened at, and what they came to. All zero: nothing yet.
struct ExitSite {
    static constexpr std::uint64_t unknown_real = ~std::uint64_t{0};

    std::uint64_t real; // of the instruction; unknown_real when it cannot be fetched
    std::uint64_t exits;
    std::uint64_t instructions; // guest instructions that the hypervisor executed in these exits
    std::uint64_t ticks;        // timebase ticks from leaving the guest to entering it again, where they are measured
    std::uint32_t ea, word;     // word: 0 when it cannot be fetched
    ExitReason reason;
    bool user;
    bool elsewhere; // exits of this reason at all sites that found no room
};

// Exits told apart by site, in memory that the host hands in: a fixed number of sites, found by hash. What finds no
// room is counted by its reason alone, so that the sum over the table is always the number of exits.
class ExitSites {
  public:
    static constexpr std::uint32_t least = 1024, most = 1U << 20;

    // Elements of memory for this many sites, a power of two within [least, most].
    static constexpr std::uint32_t elements(std::uint32_t capacity) {
        return capacity + static_cast<std::uint32_t>(exit_reason_count);
    }
    // memory: elements(capacity) of them, all zero.
    ExitSites(ExitSite* memory, std::uint32_t capacity) : sites_(memory), capacity_(capacity) {}

    struct Where {
        std::uint64_t real;
        std::uint32_t ea, word;
        bool user;
    };
    // An exit. retired: instructions of the guest so far.
    void note(ExitReason reason, const Where& where, std::uint64_t retired);
    // The guest goes on: what it retired since the exit was noted is the hypervisor's doing.
    void close(std::uint64_t retired);
    // The exit noted last took this long.
    void add_ticks(std::uint32_t ticks) {
        if (last_ != nullptr) last_->ticks += ticks;
    }

    std::uint32_t size() const { return elements(capacity_); }
    // index < size(); exits is 0 where nothing is.
    const ExitSite& at(std::uint32_t index) const { return sites_[index]; }

  private:
    static constexpr unsigned probe_length = 16;
    ExitSite& slot(ExitReason reason, const Where& where);

    ExitSite* sites_;
    std::uint32_t capacity_;
    ExitSite* last_ = nullptr;
    ExitSite* open_ = nullptr;
    std::uint64_t opened_at_ = 0;
};

} // namespace untrap::runtime
