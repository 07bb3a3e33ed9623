// SPDX-License-Identifier: GPL-2.0-only
// Accesses of hot code that leave it to the host's MMU to find their pages: which code gets them, and what becomes of
// those that fault.
#include "runtime/soft/jit_engine.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::soft {

using x64::Optimisation;
namespace mode = x64::mode;

namespace {

constexpr std::uint32_t page_bytes = 1U << x64::soft_tlb_page_shift;
// The hash of a path whose accesses are mapped differs so from that of the same path whose accesses are not.
constexpr std::uint64_t mapped_content = 0x9E3779B97F4A7C15;

} // namespace

// Whether guest memory is such that it can be mapped a second time. Known from the first page of code that asks.
bool JitEngine::may_map() {
    if (mapping_ != Mapping::untried) return mapping_ == Mapping::possible;
    const Resolved where = vcpu_.storage.resolve(vcpu_.state.pc, mmu::Access::fetch);
    if (where.status != Resolved::Status::ok) return false;
    std::uint8_t* const host = vcpu_.memory.find(where.real & ~std::uint64_t{page_bytes - 1}, page_bytes, false);
    if (host == nullptr) return false;
    const bool possible = MappedPages::can_map(host) && HostFaults::install();
    mapping_ = possible ? Mapping::possible : Mapping::impossible;
    return possible;
}

// A slice of the guest's time ended in this block.
void JitEngine::note_slice(std::uint64_t number) {
    if ((selected_->mode & mode::pr) == 0 || mapping_ == Mapping::impossible || number >= cache_.block_count()) return;
    FaultAccount& faults = selected_->data->faults;
    faults.count_slice(context_slices_, fills_ - std::exchange(fills_counted_, fills_));
    Block& block = cache_.block(number);
    if (!faults.is_young(context_slices_)) block.visits = 0;
    if (!faults.full() || !block.live || block.runs_left != nullptr || block.path != 0 || (block.mode & mode::pr) == 0)
        return;
    if (block.slices < block_slices_) {
        ++block.slices;
    } else if (cache_.mapped().choice(block.content) == nullptr && may_map()) {
        cache_.mapped().choose(block.content, MappedCode::Choice::mapped);
        replaced_.push_back(static_cast<std::uint32_t>(number));
    }
}

std::uint64_t JitEngine::choose_mapping(std::uint64_t path) {
    if ((source_.mode & mode::pr) == 0 || mapping_ == Mapping::impossible) return path;
    const MappedCode::Choice* choice = cache_.mapped().choice(path);
    if (choice == nullptr ? block_slices_ != 0 : *choice == MappedCode::Choice::barred) return path;
    if (!may_map()) return path;
    source_.mapped = true;
    path_ = path;
    return path ^ mapped_content;
}

const std::uint8_t* JitEngine::resume_after_fault(void* engine, const std::uint8_t* code) {
    auto& self = *static_cast<JitEngine*>(engine);
    const MappedCode::Site* const site = self.cache_.mapped_site(code);
    if (site == nullptr) return nullptr;
    self.fault_ = site;
    return self.cache_.at(site->slow);
}

// The page of ea is mapped from now on, if generated code knows it. False: nothing will be mapped any more.
bool JitEngine::map_page(std::uint32_t ea) {
    if (selected_->data->pages.map(ea)) return true;
    stop_mapping();
    return false;
}

// The host does not do it, or not any more.
void JitEngine::stop_mapping() {
    mapping_ = Mapping::impossible;
    for (std::size_t number = 0; number < cache_.block_count(); ++number) {
        Block& block = cache_.block(number);
        if (block.live && block.path != 0) cache_.replace(block);
    }
}

void JitEngine::insert_mapped() {
    fill(missed_.ea, missed_.store, false);
    map_page(missed_.ea);
}

// A process that has not lived for long has nothing to spend yet. It may use what it finds mapped, as when a program is
// run again, but code that such processes run one after the other would have its pages mapped over and over.
bool JitEngine::may_visit(ShadowTlb::DataContext& context, Block& block) {
    constexpr unsigned most_faults = mmu::GuestTlb::entry_count, most_visits = 8;
    if (context.visit_faults == most_faults) return false;
    ++context.visit_faults;
    if (block.visitor == context.visit) return true;
    block.visitor = context.visit;
    return ++block.visits <= most_visits;
}

bool JitEngine::access_after_fault(std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    const MappedCode::Site& site = *std::exchange(fault_, nullptr);
    ++mapped_faults_;
    isa::CpuState& state = vcpu_.state;
    ShadowTlb::DataContext& context = *selected_->data;
    Block& block = cache_.block(site.block);
    const bool stays = context.faults.is_young(context_slices_) ? may_visit(context, block) : context.faults.spend();
    if (!stays) {
        cache_.mapped().choose(block.path, MappedCode::Choice::barred);
        replaced_.push_back(site.block);
        // Left at once, whatever comes next: in a loop that goes through many pages each pass would fault.
        quick_ = false;
    }
    if (tell_miss(word, left, ea) || !access_memory(word, left, ea)) {
        missed_.mapped = stays;
        return false;
    }
    if (stays && map_page(ea)) return true;
    state.engine_slots[x64::slot_budget] += left - 1;
    trap_ = {};
    return false;
}

void JitEngine::replace_blocks() {
    for (const std::uint32_t number : replaced_) {
        Block& block = cache_.block(number);
        if (block.live) cache_.replace(block);
    }
    replaced_.clear();
}

} // namespace untrap::runtime::soft
