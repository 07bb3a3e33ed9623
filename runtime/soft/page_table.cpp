// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/page_table.h"

#include <sys/mman.h>

#include <new>

namespace untrap::runtime::soft {

namespace {

constexpr std::size_t table_bytes = sizeof(x64::FlatPages);

} // namespace

PageTable::PageTable(std::uint8_t* space) : space_(space) {
    void* memory = mmap(space, table_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (space != nullptr ? MAP_FIXED : 0), -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    // A guest uses little of its address space, and in many places: large pages would only take time to clear.
    madvise(memory, table_bytes, MADV_NOHUGEPAGE);
    pages_ = static_cast<x64::FlatPages*>(memory);
}

PageTable::~PageTable() {
    if (space_ == nullptr) munmap(pages_, table_bytes);
}

bool PageTable::map(std::uint32_t ea) {
    if (space_ == nullptr) return false;
    if (!mapped_) mapped_ = std::make_unique<MappedPages>(space_ + table_bytes);
    const std::uint32_t number = ea >> x64::soft_tlb_page_shift, page = number << x64::soft_tlb_page_shift;
    if (pages_->load[number] == 0) return true;
    return mapped_->map(page, reinterpret_cast<std::uint8_t*>(pages_->load[number] + page), pages_->store[number] != 0);
}

} // namespace untrap::runtime::soft
