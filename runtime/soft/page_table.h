// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "translator/x64/layout.h"

namespace untrap::runtime::soft {

// The software TLB of a data context as generated code sees it under Optimisation::flat_tlb: an entry for every page
// there is. Only the parts in use take memory of the host.
class PageTable {
  public:
    PageTable();
    ~PageTable();
    PageTable(const PageTable&) = delete;
    PageTable& operator=(const PageTable&) = delete;

    const x64::PageEntry* entries() const { return entries_; }
    void forget_page(std::uint32_t page) { entries_[page >> x64::soft_tlb_page_shift] = {}; }
    // What an entry of the software TLB, used or not, stands for.
    void show(const x64::SoftTlbEntry& entry) {
        const bool load = entry.read_tag != no_tag;
        if (load) at(entry.read_tag) = {entry.addend, entry.write_tag != no_tag ? entry.addend : 0};
    }
    void forget(const x64::SoftTlbEntry& entry) {
        if (entry.read_tag != no_tag) at(entry.read_tag) = {};
    }

  private:
    static constexpr std::uint32_t no_tag = x64::SoftTlbEntry{}.read_tag;
    x64::PageEntry& at(std::uint32_t page) { return entries_[page >> x64::soft_tlb_page_shift]; }

    x64::PageEntry* entries_;
};

} // namespace untrap::runtime::soft
