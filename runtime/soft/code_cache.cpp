// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/code_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace untrap::runtime::soft {

CodeCache::CodeCache(std::size_t bytes) : bytes_(bytes) {
    void* memory = mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no executable memory for generated code");
    base_ = static_cast<std::uint8_t*>(memory);
    counters_ = reinterpret_cast<std::uint32_t*>(base_ + bytes_);
    madvise(memory, bytes, MADV_HUGEPAGE); // fewer faults, and fewer entries of the host's TLB; a wish only
}

CodeCache::~CodeCache() { munmap(base_, mapped_bytes()); }

void CodeCache::commit(std::size_t bytes) { used_ = std::min(bytes_, (used_ + bytes + 15) & ~std::size_t{15}); }

void CodeCache::set_choices(std::uint64_t content, const Choices& choices) {
    if (!choices.any()) {
        choices_.erase(content);
        return;
    }
    if (choices_.size() == most_choices) choices_.clear();
    choices_[content] = choices;
}

Block* CodeCache::revive(std::uint64_t content, std::uint32_t ea, std::uint32_t mode, std::uint64_t real) {
    Block* block = stale_.take(content, [&](const Block& other) { return other.ea == ea && other.mode == mode; });
    if (block == nullptr) return nullptr;
    block->first = block->first - block->real + real;
    block->real = real;
    std::memcpy(block->code, block->entry_bytes.data(), block->entry_bytes.size());
    publish(*block);
    return block;
}

Block& CodeCache::allocate() {
    ++translated_;
    return blocks_.emplace_back();
}

void CodeCache::publish(Block& block) {
    std::memcpy(block.entry_bytes.data(), block.code, block.entry_bytes.size());
    block.live = true;
    note_path(block);
    live_.insert({block.real, block.ea, block.mode}, &block);
    CodePage& page = pages_[block.real >> mmu::PageGuard::page_shift];
    page.guard.guard(static_cast<std::uint32_t>(block.first & 0xFFF), block.bytes);
    page.blocks.push_back(&block);
}

void CodeCache::add_link(Block& owner, const x64::ExitLink& link) {
    links_.push_back(link);
    links_.back().owner = &owner;
    ++owner.link_count;
}

void CodeCache::join(x64::ExitLink& link, Block& target, std::uint8_t tlb_index) {
    if (!static_cast<Block*>(link.owner)->live) return;
    link.target = &target;
    target.incoming.push_back(&link);
    // A link that was undone for another reason is still in the list of its entry, and must not fill it by returning.
    if (tlb_index != x64::ExitLink::no_entry && link.tlb_index != tlb_index)
        links_by_entry_[tlb_index].push_back(&link);
    link.tlb_index = tlb_index;
    x64::set_target(link.site, target.code);
}

void CodeCache::unlink(x64::ExitLink& link) {
    if (link.target == nullptr) return;
    auto& incoming = static_cast<Block*>(link.target)->incoming;
    incoming.erase(std::remove(incoming.begin(), incoming.end(), &link), incoming.end());
    link.target = nullptr;
    x64::set_target(link.site, link.stub);
}

void CodeCache::drop_links(unsigned tlb_index) {
    auto& links = links_by_entry_[tlb_index];
    for (x64::ExitLink* link : links) {
        if (link->tlb_index != tlb_index) continue;
        unlink(*link);
        link->tlb_index = x64::ExitLink::no_entry;
    }
    links.clear();
}

void CodeCache::retire(Block& block) {
    block.live = false;
    live_.erase({block.real, block.ea, block.mode});
    // Whoever still holds the address (jump caches) is sent back to look it up.
    x64::set_jump(block.code, block.reentry);
    while (!block.incoming.empty()) unlink(*block.incoming.back());
    for (std::uint32_t i = 0; i < block.link_count; ++i) unlink(links_[block.first_link + i]);
    stale_.insert(block.content, &block);
}

template <typename Test>
void CodeCache::retire_in_page(std::uint64_t page_number, Test&& affected) {
    const auto found = pages_.find(page_number);
    if (found == pages_.end()) return;
    CodePage& page = found->second;
    std::vector<Block*> kept;
    page.guard.clear();
    for (Block* block : page.blocks) {
        if (affected(*block)) {
            retire(*block);
            continue;
        }
        kept.push_back(block);
        page.guard.guard(static_cast<std::uint32_t>(block->first & 0xFFF), block->bytes);
    }
    if (kept.empty())
        pages_.erase(found);
    else
        page.blocks = std::move(kept);
}

void CodeCache::written(std::uint64_t real, std::uint64_t length) {
    constexpr std::uint64_t page_bytes = 1U << mmu::PageGuard::page_shift;
    while (length != 0) {
        const std::uint64_t offset = real & (page_bytes - 1);
        const std::uint64_t part = std::min(length, page_bytes - offset);
        const auto found = pages_.find(real >> mmu::PageGuard::page_shift);
        if (found != pages_.end() &&
            found->second.guard.hit(static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(part))) {
            retire_in_page(real >> mmu::PageGuard::page_shift, [&](const Block& block) {
                return block.first < real + part && real < block.first + block.bytes;
            });
        }
        real += part;
        length -= part;
    }
}

void CodeCache::invalidate_site(std::uint64_t real) {
    retire_in_page(real >> mmu::PageGuard::page_shift,
                   [&](const Block& block) { return block.first <= real && real < block.first + block.bytes; });
}

void CodeCache::add_mapped(Block& block, const std::vector<x64::MappedAccess>& accesses) {
    mapped_.add_sites(static_cast<std::uint32_t>(block.code - base_), static_cast<std::uint32_t>(blocks_.size() - 1),
                      accesses);
}

void CodeCache::replace(Block& block) {
    retire_in_page(block.real >> mmu::PageGuard::page_shift, [&block](const Block& other) { return &other == &block; });
}

void CodeCache::clear() {
    ++epoch_;
    live_.clear();
    stale_.clear();
    pages_.clear();
    for (auto& links : links_by_entry_) links.clear();
    blocks_.clear();
    links_.clear();
    mapped_.forget_sites();
    used_ = kept_;
    counters_used_ = 0;
    path_bits_ = {};
}

} // namespace untrap::runtime::soft
