// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "runtime/soft/mapped_pages.h"
#include "translator/x64/layout.h"

namespace untrap::runtime::soft {

// The software TLB of a data context as generated code sees it under Optimisation::flat_tlb: an entry for every page
// there is. Only the parts in use take memory of the host.
class PageTable {
  public:
    // space: `bytes` of the host's address space, where nothing may be accessed yet and nothing else will be mapped; or
    // nullptr, and nothing can be mapped behind the table.
    explicit PageTable(std::uint8_t* space);
    ~PageTable();
    PageTable(const PageTable&) = delete;
    PageTable& operator=(const PageTable&) = delete;

    static constexpr std::size_t bytes = sizeof(x64::FlatPages) + x64::mapped_space_bytes;

    const x64::FlatPages* entries() const { return pages_; }
    // Whether generated code finds it by itself.
    bool knows(std::uint32_t page, bool store) const {
        const std::uint32_t number = page >> x64::soft_tlb_page_shift;
        return (store ? pages_->store[number] : pages_->load[number]) != 0;
    }
    void forget_page(std::uint32_t page) { set(page, 0, 0); }
    // What an entry of the software TLB, used or not, stands for.
    void show(const x64::SoftTlbEntry& entry) {
        const bool load = entry.read_tag != no_tag;
        if (load) set(entry.read_tag, entry.addend, entry.write_tag != no_tag ? entry.addend : 0);
    }
    void forget(const x64::SoftTlbEntry& entry) {
        if (entry.read_tag != no_tag) set(entry.read_tag, 0, 0);
    }

    // Maps the page of ea behind the table (x64::mapped_base), as far as the table knows it, until it knows it no more.
    // False: the host does not do that, or there is no room for it.
    bool map(std::uint32_t ea);
    // The memory that is mapped may be another one from now on.
    void forget_mapped() {
        if (mapped_) mapped_->clear();
    }

  private:
    static constexpr std::uint32_t no_tag = x64::SoftTlbEntry{}.read_tag;
    void set(std::uint32_t page, std::uint64_t load, std::uint64_t store) {
        if (mapped_) mapped_->allow(page, load, store);
        pages_->load[page >> x64::soft_tlb_page_shift] = load;
        pages_->store[page >> x64::soft_tlb_page_shift] = store;
    }

    x64::FlatPages* pages_;
    std::uint8_t* const space_;
    std::unique_ptr<MappedPages> mapped_;
};

} // namespace untrap::runtime::soft
