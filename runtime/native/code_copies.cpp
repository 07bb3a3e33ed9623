// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/native/code_copies.h"

namespace untrap::runtime::native {

namespace {

constexpr std::uint32_t page_bytes = 1U << CodeCopies::page_shift;

// The next smaller page of a 440.
constexpr unsigned smaller(unsigned shift) { return shift > 20 ? shift - 4 : shift - 2; }

constexpr bool from_copy(CodeCopies::Use use) {
    return use == CodeCopies::Use::copied || use == CodeCopies::Use::patched;
}

std::size_t page_in(const Memslot& slot, std::uint64_t real) {
    return static_cast<std::size_t>((real - slot.base) >> Memslot::page_shift);
}

} // namespace

CodeCopies::Block* CodeCopies::make(NativeHost& host, const Memslot& slot, std::uint64_t real, std::uint32_t ea,
                                    unsigned shift) {
    unsigned index = 0;
    while (index < used_ && blocks_[index].shift != 0) ++index;
    if (index == block_limit) return nullptr;
    if (shift > largest_shift) shift = largest_shift;
    shift = apart(real, shift);
    for (; shift >= page_shift; shift = smaller(shift)) {
        const std::uint64_t bytes = std::uint64_t{1} << shift;
        if (!has_room(bytes)) continue;
        auto* const memory = static_cast<std::uint8_t*>(host.allocate(shift));
        if (memory == nullptr) continue;
        Block& block = blocks_[index];
        __builtin_memset(static_cast<void*>(&block), 0, sizeof block); // not by way of the stack
        block.real = real & ~(bytes - 1);
        block.ea = ea & ~static_cast<std::uint32_t>(bytes - 1);
        block.shift = shift;
        block.copy = memory;
        block.copy_real = host.real_of(memory);
        block.original_real = std::uint64_t{slot.frames[page_in(slot, block.real)] >> 8} << page_shift;
        for (unsigned page = 0; page < block.pages(); ++page) {
            block.use[page] = Use::copied;
            block.first_site[page] = no_site;
            refresh(slot, block, page);
        }
        bytes_ += bytes;
        if (index == used_) ++used_;
        std::uint8_t& first = first_[megabyte_of(real)];
        block.next = first;
        first = static_cast<std::uint8_t>(index + 1);
        ++in_16_[megabyte_of(real) / 16];
        return &block;
    }
    return nullptr;
}

void CodeCopies::release(NativeHost& host, Block& block) {
    host.release(block.copy, block.shift);
    bytes_ -= block.bytes();
    std::uint8_t* from = &first_[megabyte_of(block.real)];
    while (&blocks_[*from - 1U] != &block) from = &blocks_[*from - 1U].next;
    *from = block.next;
    --in_16_[megabyte_of(block.real) / 16];
    block.shift = 0;
    block.copy = nullptr;
    while (used_ != 0 && blocks_[used_ - 1].shift == 0) --used_;
}

void CodeCopies::set_use(Block& block, unsigned page, Use use) {
    const auto patched = [](Use is) { return is == Use::patched || is == Use::mirrored; };
    const Use before = block.use[page];
    block.patched += patched(use) ? 1 : 0;
    block.patched -= patched(before) ? 1 : 0;
    block.elsewhere += from_copy(use) ? 0 : 1;
    block.elsewhere -= from_copy(before) ? 0 : 1;
    block.use[page] = use;
    if (!same_mapping(before, use)) block.piece.fill(0);
}

void CodeCopies::refresh(const Memslot& slot, Block& block, unsigned page) {
    const std::size_t first = page_in(slot, block.real);
    __builtin_memcpy(block.copy + std::size_t{page} * page_bytes, slot.pages[first + page], page_bytes);
}

unsigned CodeCopies::piece_of(const Block& block, unsigned page) {
    const Use use = block.use[page];
    if (use == Use::mirrored) return page_shift;
    if (from_copy(use) && block.elsewhere == 0) return block.shift;
    unsigned found = page_shift;
    while (found < block.shift) {
        const unsigned count = 1U << (found + 2 - page_shift), first = page & ~(count - 1);
        for (unsigned other = first; other < first + count; ++other)
            if (from_copy(block.use[other]) != from_copy(use) || block.use[other] == Use::mirrored) return found;
        found += 2;
    }
    return found;
}

unsigned CodeCopies::alike(Block& block, std::uint64_t real, unsigned shift) {
    if (shift <= page_shift) return shift;
    std::uint8_t& piece = block.piece[block.page_of(real)];
    if (piece == 0) piece = static_cast<std::uint8_t>(piece_of(block, block.page_of(real)));
    return piece < shift ? piece : shift;
}

unsigned CodeCopies::apart(std::uint64_t real, unsigned shift) const {
    if (shift > 24 && used_ != 0) shift = 24;
    if (shift > largest_shift && in_16_[megabyte_of(real) / 16] != 0) shift = largest_shift;
    if (shift > largest_shift) return shift;
    for (unsigned number = first_in(real); number != 0; number = blocks_[number - 1].next) {
        const Block& block = blocks_[number - 1];
        for (; shift > page_shift; shift = smaller(shift)) {
            const std::uint64_t bytes = std::uint64_t{1} << shift, first = real & ~(bytes - 1);
            if (first >= block.real + block.bytes() || block.real >= first + bytes) break;
        }
    }
    return shift;
}

} // namespace untrap::runtime::native
