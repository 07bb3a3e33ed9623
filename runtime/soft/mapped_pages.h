// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "translator/x64/layout.h"

namespace untrap::runtime::soft {

// The address space of a data context as a piece of the host's, for code that leaves it to the host's MMU to find its
// pages (x64::BlockSource::mapped): a guest page is mapped there by being the same memory of the host a second time.
// What is not mapped faults. Never more is mapped than the software TLB of the context knows.
class MappedPages {
  public:
    // space: x64::mapped_space_bytes of the host's address space, where nothing may be accessed and nothing else will
    // be mapped.
    explicit MappedPages(std::uint8_t* space) : base_(space + x64::mapped_guard_bytes) {}

    // Whether the host maps the page at this address, of its own, a second time.
    static bool can_map(std::uint8_t* host);

    // page: effective address. host: its first byte, in memory that is shared (MAP_SHARED). False: the host does not do
    // that.
    bool map(std::uint32_t page, std::uint8_t* host, bool store);
    // From now on the software TLB has these for the page: host addresses less the effective one, or 0.
    void allow(std::uint32_t page, std::uint64_t load, std::uint64_t store) {
        if (accessible_[slot(page)] != 0) check(page, load, store);
    }
    // Nothing is mapped any more, and what was is forgotten: the host's memory may be other memory now.
    void clear();

  private:
    struct Page {
        std::uint8_t* host = nullptr; // what lies there, even if it may not be accessed
        bool load = false, store = false;
    };
    // Each is one of the host's mappings or more, of which a process has some 65 000.
    static constexpr std::size_t most_pages = 256;

    static constexpr unsigned slots = 4096;
    static constexpr unsigned slot(std::uint32_t page) { return page >> x64::soft_tlb_page_shift & (slots - 1); }
    void check(std::uint32_t page, std::uint64_t load, std::uint64_t store);

    std::uint8_t* const base_; // where effective address 0 is
    std::unordered_map<std::uint32_t, Page> pages_;
    std::array<std::uint16_t, slots> accessible_{}; // how many pages of a slot may be accessed
};

} // namespace untrap::runtime::soft
