// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "translator/x64/block.h"

namespace untrap::runtime::soft {

// What is known of code whose accesses leave it to the host's MMU to find their pages (x64::BlockSource::mapped). A
// fault there, and mapping the page that it was for, cost some thousand times what the look costs that is saved: only
// what has run long is mapped, and what faults too often is not.
class MappedCode {
  public:
    // An access that may fault. Places in code count from the beginning of the code cache.
    struct Site {
        std::uint32_t first = 0, last = 0; // its code: [first, last)
        std::uint32_t slow = 0;            // where it goes on
        std::uint32_t block = 0;           // number
    };
    // Of a block, which lies behind all that came before.
    void add_sites(std::uint32_t place, std::uint32_t block, const std::vector<x64::MappedAccess>& accesses);
    void add_site(const Site& site) { sites_.push_back(site); }
    // The site whose code holds this place, or nullptr.
    const Site* find(std::uint32_t place) const;
    // The code is gone; what is known of the guest's stays.
    void forget_sites() { sites_.clear(); }
    const std::vector<Site>& sites() const { return sites_; }

    // Paths by content: those that are made so, and those that are not though they run long, because they faulted.
    enum class Choice : std::uint8_t { mapped, barred };
    const Choice* choice(std::uint64_t path) const {
        const auto found = choices_.find(path);
        return found != choices_.end() ? &found->second : nullptr;
    }
    void choose(std::uint64_t path, Choice choice);
    const std::unordered_map<std::uint64_t, Choice>& choices() const { return choices_; }
    // 1 MB at most.
    static constexpr std::size_t most_choices = 16384;

  private:
    std::vector<Site> sites_; // by place
    std::unordered_map<std::uint64_t, Choice> choices_;
};

// What a context of the guest may spend on faults. Its time is counted in slices: as many instructions as the run loop
// gives it at once, some 20 us. A fault takes half of that.
class FaultAccount {
  public:
    // A slice of its time is over, in which the software TLB got so many pages: each would have been a fault of mapped
    // code. The first `young` slices bring nothing: processes that come and go would have all their pages mapped in
    // vain.
    void count_slice(unsigned young, std::uint64_t pages) {
        if (++slices_ == young) grant();
        if (pages != 0)
            credit_ -= static_cast<unsigned>(std::min<std::uint64_t>(pages * fault, credit_));
        else if (slices_ > resumes_at_ && slices_ > young && credit_ < limit)
            ++credit_;
    }
    bool is_young(unsigned young) const { return slices_ < young; }
    // As much as it may have, at once.
    void grant() { credit_ = limit; }
    // Whether it has been without faults for long.
    bool full() const { return credit_ == limit; }
    // Of a fault. False: it comes too soon after others. Then there is nothing more for a while, each time for twice as
    // long.
    bool spend() {
        if (credit_ >= fault) {
            credit_ -= fault;
            return true;
        }
        if (slices_ > resumes_at_) resumes_at_ = slices_ + (std::uint64_t{limit} << std::min(pauses_++, most_pauses));
        return false;
    }

  private:
    // All pages that a guest's TLB has may be mapped at once; in the long run faults take a sixteenth of the time.
    static constexpr unsigned fault = 8, limit = 64 * fault;
    static constexpr unsigned most_pauses = 12;
    std::uint64_t slices_ = 0, resumes_at_ = 0;
    unsigned credit_ = 0, pauses_ = 0;
};

} // namespace untrap::runtime::soft
