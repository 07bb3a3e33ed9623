// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/page_table.h"

#include <sys/mman.h>

#include <new>

namespace untrap::runtime::soft {

namespace {

constexpr std::size_t bytes = sizeof(x64::FlatPages);

} // namespace

PageTable::PageTable() {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    // A guest uses little of its address space, and in many places: large pages would only take time to clear.
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    pages_ = static_cast<x64::FlatPages*>(memory);
}

PageTable::~PageTable() { munmap(pages_, bytes); }

} // namespace untrap::runtime::soft
