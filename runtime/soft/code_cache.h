// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "mmu/page_guard.h"
#include "runtime/soft/block_table.h"
#include "runtime/soft/mapped_code.h"
#include "translator/x64/block.h"

namespace untrap::runtime::soft {

// A translated block. It is found by where its code is (guest real address), where it runs (EA) and its mode.
struct Block {
    std::uint32_t ea = 0, mode = 0;
    std::uint64_t real = 0;
    std::uint64_t first = 0;   // guest real address of the first byte that it is made from
    std::uint32_t bytes = 0;   // from there; what lies between the parts of its path counts too
    std::uint64_t content = 0; // XXH3 of all it is made from
    std::uint8_t* code = nullptr;
    std::uint8_t* reentry = nullptr;
    std::array<std::uint8_t, 5> entry_bytes{}; // of a live block; a stale one starts with a jump to reentry
    std::uint32_t* runs_left = nullptr;        // of a plain translation: until it is made anew
    bool live = false;
    std::uint32_t first_link = 0, link_count = 0; // CodeCache::link
    std::uint64_t path = 0;  // of one whose accesses are mapped: what `content` would be if they were not
    std::uint8_t slices = 0; // of the guest's time that ended here, as far as they are counted
    // Young processes that faulted here since one that lives for long ran it, and which was the last.
    std::uint8_t visits = 0;
    std::uint64_t visitor = 0;
    std::vector<x64::ExitLink*> incoming;
};

// Memory for generated code, and which guest code it stands for. Stale blocks are kept by content: when the same code
// turns up again (a page read anew, a site patched back), its translation is used again.
class CodeCache {
  public:
    // Throws std::runtime_error if no executable memory can be had. bytes: size of the arena.
    explicit CodeCache(std::size_t bytes);
    ~CodeCache();
    CodeCache(const CodeCache&) = delete;
    CodeCache& operator=(const CodeCache&) = delete;

    std::uint8_t* cursor() { return base_ + used_; }
    std::size_t room() const { return bytes_ - used_; }
    void commit(std::size_t bytes);
    // What is committed now stays when the cache is cleared (the thunks).
    void keep() { kept_ = used_; }

    Block* find(std::uint32_t ea, std::uint64_t real, std::uint32_t mode) const { return live_.find({real, ea, mode}); }
    // A stale block made from the same content, alive again at real; nullptr if there is none.
    Block* revive(std::uint64_t content, std::uint32_t ea, std::uint32_t mode, std::uint64_t real);
    // Whether there may be a block at ea, stale or not, that is no plain translation: for some it says yes all the
    // same.
    bool may_have_path(std::uint32_t ea, std::uint32_t mode) const {
        const std::uint32_t bit = path_bit(ea, mode);
        return (path_bits_[bit / 64] >> (bit % 64) & 1) != 0;
    }
    // For the way that a block would take by the form of its branches alone, by content: which of them go the other
    // way, bit n for the nth that is asked for (x64::ChooseWay).
    struct Choices {
        std::array<std::uint64_t, 2> other{};
        static constexpr unsigned limit = 128;
        bool any() const { return (other[0] | other[1]) != 0; }
        bool has(unsigned number) const { return number < limit && (other[number / 64] >> (number % 64) & 1) != 0; }
        void add(unsigned number) { other[number / 64] |= std::uint64_t{1} << (number % 64); }
    };
    const Choices* choices(std::uint64_t content) const {
        const auto found = choices_.find(content);
        return found != choices_.end() ? &found->second : nullptr;
    }
    void set_choices(std::uint64_t content, const Choices& choices);
    std::size_t choice_count() const { return choices_.size(); }
    // A counter within reach of generated code, if there are any left. It lasts until the cache is cleared.
    bool has_counters() const { return counters_used_ < counters(); }
    std::uint32_t* counter() { return &counters_[counters_used_++]; }
    // A block to be filled in and then published.
    Block& allocate();
    void publish(Block& block);

    // The links of all blocks by number, which the code knows them by.
    x64::ExitLink& link(std::uint64_t number) { return links_[static_cast<std::size_t>(number)]; }
    std::uint32_t next_link() const { return static_cast<std::uint32_t>(links_.size()); }
    void add_link(Block& owner, const x64::ExitLink& link);

    // Makes a link's jump go straight to a block; tlb_index: the guest TLB entry that both depend on, or no_entry.
    void join(x64::ExitLink& link, Block& target, std::uint8_t tlb_index);
    void unlink_entry(unsigned tlb_index) {
        if (linked_by(tlb_index)) drop_links(tlb_index);
    }
    // Whether a link may depend on this guest TLB entry.
    bool linked_by(unsigned tlb_index) const { return !links_by_entry_[tlb_index].empty(); }

    // Blocks by number: a new one gets the next.
    std::size_t block_count() const { return blocks_.size(); }
    Block& block(std::uint64_t number) { return blocks_[static_cast<std::size_t>(number)]; }
    MappedCode& mapped() { return mapped_; }
    const MappedCode& mapped() const { return mapped_; }
    void add_mapped(Block& block, const std::vector<x64::MappedAccess>& accesses);
    // The access whose code is at this address, or nullptr.
    const MappedCode::Site* mapped_site(const std::uint8_t* code) const {
        return code >= base_ && code < base_ + used_ ? mapped_.find(static_cast<std::uint32_t>(code - base_)) : nullptr;
    }
    const std::uint8_t* at(std::uint32_t place) const { return base_ + place; }

    // Whether the 4 KB page of real holds live translated code.
    bool guarded(std::uint64_t real) const { return pages_.count(real >> mmu::PageGuard::page_shift) != 0; }
    // [real, real + length) was written: blocks made from it become stale.
    void written(std::uint64_t real, std::uint64_t length);
    void invalidate_site(std::uint64_t real);
    // Another translation takes its place.
    void replace(Block& block);
    void clear();

    // As an image (code_image.h), and back, into a cache that has the same thunks and nothing else: all blocks are
    // stale then, their counters at `runs`. False, and nothing has changed: the image does not fit, or its records are
    // wrong.
    std::size_t packed_bytes() const;
    void pack(std::uint8_t* to, std::uint64_t key) const;
    bool unpack(std::span<const std::uint8_t> image, std::uint32_t runs);

    std::uint64_t translated() const { return translated_; }
    // Counts clear(): pointers to blocks and links are good within one epoch.
    std::uint64_t epoch() const { return epoch_; }

  private:
    struct CodePage {
        mmu::PageGuard guard;
        std::vector<Block*> blocks;
    };
    static void unlink(x64::ExitLink& link);
    void drop_links(unsigned tlb_index);
    void retire(Block& block);
    template <typename Test>
    void retire_in_page(std::uint64_t page, Test&& affected);

    // Behind the code: a counter for so many bytes of it.
    static constexpr std::size_t bytes_per_counter = 1024;
    std::size_t counters() const { return bytes_ / bytes_per_counter; }
    std::size_t mapped_bytes() const { return bytes_ + counters() * sizeof(std::uint32_t); }

    std::uint8_t* base_ = nullptr;
    std::size_t bytes_, used_ = 0, kept_ = 0;
    std::uint32_t* counters_ = nullptr;
    std::size_t counters_used_ = 0;
    std::deque<Block> blocks_;
    std::deque<x64::ExitLink> links_;
    MappedCode mapped_;
    BlockTable live_;
    StaleTable stale_;
    std::unordered_map<std::uint64_t, CodePage> pages_;
    void note_path(const Block& block) {
        const std::uint32_t bit = path_bit(block.ea, block.mode);
        if (block.runs_left == nullptr) path_bits_[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
    static constexpr std::uint32_t path_bit(std::uint32_t ea, std::uint32_t mode) {
        return ((ea >> 2) * 0x9E3779B1U ^ mode * 0x85EBCA6BU) >> 16;
    }
    std::array<std::uint64_t, 1024> path_bits_{}; // of path_bit()
    // 2 MB at most. They outlive clear(): code that comes back is the same.
    static constexpr std::size_t most_choices = 32768;
    std::unordered_map<std::uint64_t, Choices> choices_;
    std::array<std::vector<x64::ExitLink*>, 64> links_by_entry_;
    std::uint64_t translated_ = 0, epoch_ = 0;
};

} // namespace untrap::runtime::soft
