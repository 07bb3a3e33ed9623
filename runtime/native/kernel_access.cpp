// SPDX-License-Identifier: GPL-2.0-only
// Single accesses of the guest's kernel to a process's memory. Linux opens that memory by a write of PID before each of
// them and closes it after it. A mapping would have to be taken out again at the second write, which is an exit more:
// an access that stays alone is cheaper made here.
#include "runtime/byte_order.h"
#include "runtime/native/native_engine.h"
#include "translator/interp/simple_access.h"

namespace untrap::runtime::native {

using mmu::Access;
using mmu::TlbEntry;

namespace {

constexpr unsigned page_shift = Memslot::page_shift;
constexpr std::uint32_t offset_mask = (1U << page_shift) - 1;
// Accesses beside each other, one exit each, before the page is mapped; instructions in a row that one exit makes.
constexpr unsigned run_limit = 1, row_limit = ROW_LIMIT;
// Where that happened the page is mapped at once so many times.
constexpr unsigned believed = 32;
// As far apart as that they are beside each other.
constexpr std::uint32_t nearby = NEARBY_DATA, near_code = NEARBY_CODE;

} // namespace

// Whether an access belongs to the same row as the last one, as far as can be told: PID may have been written between
// them without an exit. It is near in the data and near in the code, but not back at the beginning of both.
bool NativeEngine::continues_row(std::uint32_t ea, std::uint32_t pc) const {
    const std::uint32_t distance = ea - world_.accessed_ea, step = pc - world_.accessed_pc;
    if (distance == 0 || distance + nearby > 2 * nearby || step + near_code > 2 * near_code) return false;
    return pc != world_.access_begin || static_cast<std::int32_t>(distance) > 0;
}

// The access to ea that missed, and what follows it directly in the same page. map: nothing is done, and the page is
// mapped instead. patch: nor is it then, because the run loop is to patch it.
NativeEngine::ForKernel NativeEngine::access_for_kernel(std::uint32_t ea, const TlbEntry& entry, Access access) {
    if (!quick_ || world_.process_pid != isa::CpuState::no_pid) return ForKernel::map;
    const std::uint32_t begin = vcpu_.state.pc;
    world_.access_run = continues_row(ea, begin) ? world_.access_run + 1 : 0;
    world_.accessed_ea = ea;
    world_.accessed_pc = begin;
    if (world_.access_run == 0) world_.access_begin = begin;
    LongRun& known = long_runs_[world_.access_begin >> 2 & (long_runs - 1)];
    if (world_.access_run == 0 && known.pc == begin && known.left != 0) {
        --known.left;
        return ForKernel::map;
    }
    if (world_.access_run >= run_limit) {
        repeats_of(world_.access_begin) = repeats_of(begin) = 0; // a stub would be slower than the mapping
        if (stopped_ == Stopped::access) {
            row_at_stub(begin);
            return ForKernel::patch;
        }
        known = {world_.access_begin, believed};
        return ForKernel::map;
    }
    if (entry.little_endian() || entry.page_shift() < page_shift) return ForKernel::map;
    const std::uint64_t real = entry.translate(ea);
    const Memslot* const slot = plain_memory(real);
    if (slot == nullptr || slot->pages == nullptr) return ForKernel::map;
    std::uint8_t* const page = slot->pages[(real - slot->base) >> page_shift];

    isa::CpuState& state = vcpu_.state;
    unsigned made = 0;
    for (; made < row_limit; ++made) {
        isa::Trap ignored;
        std::uint32_t word = 0;
        if (!vcpu_.storage.fetch(state.pc, word, ignored)) break;
        const isa::Instruction insn{.word = word};
        const interp::SimpleAccess shape = interp::simple_access(word);
        if (shape.size == 0 || !interp::is_valid(shape, insn)) break;
        const std::uint32_t at = interp::address_of(shape, insn, state);
        if (made == 0 ? at != ea || shape.store != (access == Access::store) : (at ^ ea) > offset_mask) break;
        if ((at & (shape.size - 1U)) != 0) break;
        if (!mmu::GuestTlb::permits(entry, false, shape.store ? Access::store : Access::load)) break;
        if (made == 0 && stopped_ == Stopped::elsewhere) {
            if (shape.update) // no stub is made for it: the world switch counts on
                access_repeats(begin, tag_of(ea));
            else if (access_is_hot(ea, begin))
                return ForKernel::patch;
        }
        std::uint32_t value = 0;
        if (shape.store)
            store_big_endian(page + (at & offset_mask), shape.size, interp::stored_value(shape, insn, state));
        else
            value = static_cast<std::uint32_t>(load_big_endian(page + (at & offset_mask), shape.size));
        interp::complete_access(shape, insn, at, value, state);
        world_.accessed_ea = at;
        world_.accessed_pc = state.pc - 4;
    }
    if (made == 0) return ForKernel::map;
    count(ExitReason::dtlb_virt);
    return ForKernel::made;
}

} // namespace untrap::runtime::native
