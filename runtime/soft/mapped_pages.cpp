// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/mapped_pages.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

namespace untrap::runtime::soft {

namespace {

constexpr std::size_t page_bytes = std::size_t{1} << x64::soft_tlb_page_shift;

} // namespace

bool MappedPages::can_map(std::uint8_t* host) {
    void* const again = mremap(host, 0, page_bytes, MREMAP_MAYMOVE);
    if (again == MAP_FAILED) return false;
    munmap(again, page_bytes);
    return true;
}

void MappedPages::clear() {
    if (pages_.empty()) return;
    std::uint8_t* const space = base_ - x64::mapped_guard_bytes;
    // A host that gives out no more mappings may not even replace some, but forbids access to those there are. What
    // stayed accessible might soon be another process's.
    if (mmap(space, x64::mapped_space_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED &&
        mprotect(space, x64::mapped_space_bytes, PROT_NONE) != 0) {
        std::fputs("untrap: the host does not take back a guest's access to its memory\n", stderr);
        std::abort();
    }
    pages_.clear();
    accessible_ = {};
}

bool MappedPages::map(std::uint32_t page, std::uint8_t* host, bool store) {
    if (pages_.size() == most_pages) clear();
    Page& known = pages_[page];
    std::uint8_t* const at = base_ + page;
    if (known.host != host) {
        // Of shared memory, this makes the same pages appear a second time.
        if (mremap(host, 0, page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at) {
            clear();
            return false;
        }
        known.host = host;
    }
    if (mprotect(at, page_bytes, store ? PROT_READ | PROT_WRITE : PROT_READ) != 0) {
        clear();
        return false;
    }
    if (!known.load) ++accessible_[slot(page)];
    known.load = true;
    known.store = store;
    return true;
}

void MappedPages::check(std::uint32_t page, std::uint64_t load, std::uint64_t store) {
    const auto found = pages_.find(page);
    if (found == pages_.end() || !found->second.load) return;
    Page& known = found->second;
    if (load == reinterpret_cast<std::uint64_t>(known.host) - page && (!known.store || store != 0)) return;
    // Splitting a mapping may take one more than the host allows.
    if (mprotect(base_ + page, page_bytes, PROT_NONE) != 0) return clear();
    known.load = known.store = false;
    --accessible_[slot(page)];
}

} // namespace untrap::runtime::soft
